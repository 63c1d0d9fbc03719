"""What `icebrick snapshots` says of groups."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.local import LocalBackend
from icebrick.repository.repository import open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import add_tree
from icebrick.workflow.naming import group_tags, volume_path


@pytest.fixture
def points(location: Path) -> Path:
    """Two of a group: a complete one of two volumes, and one that lacks a volume. And a volume by itself."""
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))

        def add(volume: str, second: int, tags: tuple[str, ...] = ()) -> None:
            add_tree(repository, {"volume.json": b"{}"}, second, paths=(volume_path(volume),), tags=tags)

        add("v1", 1_700_000_000, group_tags("g1", "first", 2))
        add("v2", 1_700_000_000, group_tags("g1", "first", 2))
        add("v1", 1_700_100_000, group_tags("g1", "second", 2))
        add("v3", 1_700_200_000)
    return location


def test_restore_points_of_groups_are_listed_with_what_they_lack(icebrick: Icebrick, points: Path) -> None:
    lines = icebrick("snapshots").out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("group"))
    rows = [line.split() for line in lines[start + 1 : -1]]
    assert [(row[0], row[1], row[4:]) for row in rows] == [
        ("g1", "first", ["2", "of", "2", "complete"]),
        ("g1", "second", ["1", "of", "2", "incomplete"]),
    ]
    assert lines[-1] == "2 restore points of groups"


def test_each_snapshot_tells_its_restore_point(icebrick: Icebrick, points: Path) -> None:
    (listed,) = icebrick("snapshots", "--json").json
    told = [(snapshot["paths"][0], snapshot.get("restore_point")) for snapshot in listed]
    first = {"group_id": "g1", "group_snapshot_id": "first", "members": 2, "present": 2, "complete": True}
    second = {**first, "group_snapshot_id": "second", "present": 1, "complete": False}
    assert sorted(told, key=lambda pair: pair[0])[:3] == [
        ("/cinder/v1", first),
        ("/cinder/v1", second),
        ("/cinder/v2", first),
    ]
    assert told[-1] == ("/cinder/v3", None)


def test_a_point_is_complete_also_when_one_volume_is_listed(icebrick: Icebrick, points: Path) -> None:
    ran = icebrick("snapshots", "--single-volume-id", "v2")
    assert "2 of 2" in ran.out
    assert "incomplete" not in ran.out


def test_without_groups_nothing_is_said_of_them(icebrick: Icebrick, points: Path) -> None:
    assert "group" not in icebrick("snapshots", "--single-volume-id", "v3").out
