from __future__ import annotations

from datetime import UTC, datetime

import pytest

from icebrick.repository.timestamp import ZERO_TIME, Timestamp, from_datetime, parse_timestamp


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T06:25:51Z",
        "2026-11-23T06:25:51.5Z",
        "2026-11-23T06:25:51.000000001Z",
        "2026-11-23T06:25:51.123456789+02:00",
        "2026-02-28T23:59:59.1-09:30",
        "1969-12-31T23:59:59.999999995Z",
        "0001-01-01T00:00:00Z",
        "0000-02-29T12:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
    ],
)
def test_what_go_writes_is_written_back_alike(text: str) -> None:
    assert str(parse_timestamp(text)) == text


def test_an_offset_says_how_it_is_written_not_when_it_is() -> None:
    assert parse_timestamp("2026-01-01T02:00:00+02:00").ns == parse_timestamp("2026-01-01T00:00:00Z").ns


def test_trailing_zeros_of_the_fraction_are_cut() -> None:
    assert str(Timestamp(1_500_000_000)) == "1970-01-01T00:00:01.5Z"


def test_digits_beyond_nanoseconds_are_cut() -> None:
    assert parse_timestamp("1970-01-01T00:00:00.1234567899Z").ns == 123_456_789


def test_go_s_zero_time_is_known() -> None:
    assert parse_timestamp("0001-01-01T00:00:00Z") == ZERO_TIME


@pytest.mark.parametrize(
    ("ns", "text"), [(1 << 80, "9999-12-31T23:59:59.999999999Z"), (-(1 << 80), "0000-01-01T00:00:00Z")]
)
def test_years_without_four_digits_become_the_nearest_that_have(ns: int, text: str) -> None:
    assert str(Timestamp(ns)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T06:25:51",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00+24:00",
        "٢026-01-01T00:00:00Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_timestamp(text)


def test_a_datetime_survives_there_and_back() -> None:
    moment = datetime(2026, 11, 23, 6, 25, 51, 123456, tzinfo=UTC)
    assert from_datetime(moment).to_datetime() == moment


def test_a_datetime_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        from_datetime(datetime(2026, 11, 23))


def test_timestamps_sort_by_instant() -> None:
    early, late = parse_timestamp("2026-01-01T03:00:00+02:00"), parse_timestamp("2026-01-01T02:00:00Z")
    assert early < late


@pytest.mark.parametrize(("ns", "year"), [(ZERO_TIME.ns, 1), (-(1 << 80), 1), (1 << 80, 9999)])
@pytest.mark.parametrize("offset", [0, 1439, -1439])
def test_a_time_no_datetime_can_hold_becomes_the_nearest(ns: int, year: int, offset: int) -> None:
    assert abs(Timestamp(ns, offset).to_datetime().year - year) <= 1
