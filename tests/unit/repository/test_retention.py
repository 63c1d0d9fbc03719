"""What rules keep, where stock restic is no measure; where it is, see tests/interop/test_forget.py."""

from __future__ import annotations

from datetime import timedelta

import pytest

from icebrick.repository.retention import (
    IN_THE_FUTURE,
    TOLERANCE,
    UNLIMITED,
    Period,
    Policy,
    Span,
    Verdict,
    apply_policy,
    parse_span,
)
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp, from_datetime, parse_timestamp

NOW = parse_timestamp("2026-11-23T06:15:00Z")


def snapshot(time: str | Timestamp) -> Snapshot:
    moment = parse_timestamp(time) if isinstance(time, str) else time
    return Snapshot(moment, bytes(32), ("/cinder/1",), "cinder", id=str(moment))


def judge(policy: Policy, *times: str | Timestamp) -> list[Verdict]:
    return apply_policy(map(snapshot, times), policy, NOW)


def kept(policy: Policy, *times: str | Timestamp) -> list[str]:
    return [str(verdict.snapshot.id) for verdict in judge(policy, *times) if verdict.is_kept]


def later(delta: timedelta) -> Timestamp:
    return from_datetime(NOW.to_datetime() + delta)


def test_what_lies_in_the_future_is_kept_and_counts_for_nothing() -> None:
    ahead, newer, older = "2027-01-01T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-21T00:00:00Z"
    verdicts = judge(Policy({Period.LAST: 1}), older, ahead, newer)
    assert [verdict.reasons for verdict in verdicts] == [(IN_THE_FUTURE,), ("last snapshot",), ()]


def test_what_lies_in_the_future_is_not_what_spans_are_measured_from() -> None:
    ahead, newer = "2027-01-01T00:00:00Z", "2026-11-22T00:00:00Z"
    assert kept(Policy(within=Span(days=2)), newer, ahead) == [ahead, newer]


def test_clocks_may_differ_a_little() -> None:
    verdicts = judge(Policy({Period.LAST: 1}), later(TOLERANCE))
    assert verdicts[0].reasons == ("last snapshot",)
    assert judge(Policy({Period.LAST: 1}), later(TOLERANCE + timedelta(seconds=1)))[0].reasons == (IN_THE_FUTURE,)


def test_with_snapshots_of_the_future_alone_all_are_kept() -> None:
    times = "2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"
    assert len(kept(Policy({Period.DAILY: 1}, within=Span(days=1)), *times)) == 2


def test_an_unlimited_count_keeps_one_of_each_period() -> None:
    times = "2026-11-22T08:00:00Z", "2026-11-22T07:00:00Z", "2020-11-22T08:00:00Z", "2020-11-21T08:00:00Z"
    assert kept(Policy({Period.DAILY: UNLIMITED}), *times) == [times[0], times[2], times[3]]


def test_days_are_those_on_the_clock_of_who_wrote_the_snapshot() -> None:
    here, there = "2026-11-22T00:30:00+02:00", "2026-11-21T23:30:00+02:00"  # one day in UTC
    assert kept(Policy({Period.DAILY: 2}), here, there) == [here, there]


def test_the_oldest_stays_only_when_asked_for_and_while_its_rule_has_some_left() -> None:
    newest, middle, oldest = "2026-11-22T08:00:00Z", "2026-11-22T07:00:00Z", "2026-11-22T06:00:00Z"
    assert kept(Policy({Period.DAILY: 2}), newest, middle, oldest) == [newest]
    assert kept(Policy({Period.DAILY: 2}, oldest=True), newest, middle, oldest) == [newest, oldest]
    assert kept(Policy({Period.DAILY: 1}, oldest=True), newest, middle, oldest) == [newest]


@pytest.mark.parametrize("policy", [Policy(), Policy({Period.LAST: 0}), Policy(within=Span())])
def test_an_empty_policy_keeps_everything(policy: Policy) -> None:
    assert policy.is_empty
    assert len(kept(policy, "2026-11-22T08:00:00Z", "2020-11-22T08:00:00Z")) == 2


@pytest.mark.parametrize(
    ("span", "moment", "before"),
    [
        ("1m", "2026-03-31T12:00:00Z", "2026-03-03T12:00:00Z"),
        ("1y", "2024-02-29T12:00:00Z", "2023-03-01T12:00:00Z"),
        ("1y5m7d2h", "2026-11-23T06:15:00.000000001+01:00", "2025-06-16T04:15:00.000000001+01:00"),
        ("9999y", "2026-11-23T06:15:00Z", "0001-01-01T00:00:00Z"),
        ("999999999999h", "2026-11-23T06:15:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_spans_are_calendars(span: str, moment: str, before: str) -> None:
    assert str(parse_span(span).before(parse_timestamp(moment))) == before


@pytest.mark.parametrize("text", ["", "5", "d", "5w", "-5d", "5d ", "1.5d"])
def test_a_span_has_whole_numbers_with_units(text: str) -> None:
    with pytest.raises(ValueError, match="^" + text.replace(".", r"\.") + "$"):
        parse_span(text)
