"""Which snapshot is meant by latest, an id, or a date."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from icebrick.errors import SnapshotMissingError, UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import from_datetime
from icebrick.workflow.select import Selection, choose_any, choose_image, choose_volume, parse_moment, with_path

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def snapshot(number: int, path: str = "/cinder/v", host: str = "cinder") -> Snapshot:
    moment = from_datetime(START + timedelta(days=number))
    return Snapshot(moment, bytes(32), (path,), host, id=f"{number:x}" + "0" * 63)


SNAPSHOTS = [snapshot(1), snapshot(2), snapshot(3)]


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_latest_is_the_newest() -> None:
    assert choose_volume(SNAPSHOTS, "v", Selection()) is SNAPSHOTS[2]


def test_an_id_may_be_shortened() -> None:
    assert choose_volume(SNAPSHOTS, "v", Selection("20")) is SNAPSHOTS[1]


@pytest.mark.parametrize(("days", "chosen"), [(1.0, 0), (1.5, 0), (2.0, 1), (99.0, 2)])
def test_a_date_chooses_the_newest_not_after_it(days: float, chosen: int) -> None:
    moment = START + timedelta(days=days)
    assert choose_volume(SNAPSHOTS, "v", Selection(not_after=moment)) is SNAPSHOTS[chosen]


def test_a_date_before_all_is_an_error_that_names_the_first() -> None:
    with pytest.raises(SnapshotMissingError, match="the first is from 2026-11-21"):
        choose_volume(SNAPSHOTS, "v", Selection(not_after=START))


@pytest.mark.parametrize("prefix", ["f", "x", "../"])
def test_an_unknown_id_is_an_error(prefix: str) -> None:
    with pytest.raises(SnapshotMissingError, match="no snapshot of volume v with an id"):
        choose_volume(SNAPSHOTS, "v", Selection(prefix))


def test_an_ambiguous_id_is_an_error() -> None:
    with pytest.raises(SnapshotMissingError, match="2 snapshots of volume v"):
        choose_volume([snapshot(1), snapshot(1)], "v", Selection("1"))


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(SnapshotMissingError, match="no snapshot of volume v"):
        choose_volume([], "v", Selection())


def test_an_image_is_chosen_by_its_name_and_host() -> None:
    mine, other = snapshot(1, "/image/disk", "a"), snapshot(2, "/image/disk", "b")
    assert choose_image([mine, other], "disk", "a", Selection()) is mine
    assert choose_image([mine, other], "disk", None, Selection()) is other


def test_without_a_name_all_snapshots_count() -> None:
    assert choose_any([snapshot(2, "/home"), snapshot(1)], Selection()).paths == ("/home",)


def test_only_the_whole_path_counts() -> None:
    others = [snapshot(1, "/cinder/v2"), snapshot(2, "/cinder"), snapshot(3, "/cinder/v")]
    assert with_path(others, "/cinder/v") == [others[2]]


def test_the_host_can_narrow() -> None:
    mine, other = snapshot(1, host="a"), snapshot(2, host="b")
    assert with_path([other, mine], "/cinder/v", hostname="a") == [mine]


def test_the_oldest_comes_first() -> None:
    assert with_path(reversed(SNAPSHOTS), "/cinder/v") == SNAPSHOTS


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T06:15:00+00:00", datetime(2026, 11, 23, 6, 15, tzinfo=UTC)),
        ("2026-11-23T06:15:00Z", datetime(2026, 11, 23, 6, 15, tzinfo=UTC)),
        ("2026-11-23T06:15:00+05:30", datetime(2026, 11, 23, 0, 45, tzinfo=UTC)),
        ("2026-11-23T06:15", datetime(2026, 11, 23, 5, 15, tzinfo=UTC)),
        ("2026-11-23 06:15", datetime(2026, 11, 23, 5, 15, tzinfo=UTC)),
        ("2026-11-23", datetime(2026, 11, 23, 22, 59, 59, 999999, tzinfo=UTC)),
        ("20261123", datetime(2026, 11, 23, 22, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_dates_and_times_are_local_unless_they_say_otherwise(text: str, moment: datetime) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-11-23T25:00", "1", "0001-01-01T00:00+14:00"])
def test_what_is_no_date_is_an_error_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is not a date or time") as caught:
        parse_moment(text)
    assert caught.value.hint is not None
