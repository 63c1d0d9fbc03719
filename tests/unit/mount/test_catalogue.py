"""How snapshots are laid out in directories."""

from __future__ import annotations

import pytest

from icebrick.mount.catalogue import Catalogue, Shelf
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp

HOUR = 3600 * 10**9


def snapshot(
    number: int, hour: int = 0, *, path: str = "/cinder/v1", name: str = "", snapshot_id: str = "", offset: int = 0
) -> Snapshot:
    tags = (f"name:{name}",) if name else ()
    whole = snapshot_id or f"{number:08x}".ljust(64, "0")
    return Snapshot(Timestamp(hour * HOUR, offset), bytes(32), (path,), "host", tags=tags, id=whole)


def names(shelf: Shelf, *steps: str) -> list[str]:
    for step in steps:
        below = shelf[step]
        assert not isinstance(below, (str, Snapshot))
        shelf = below
    return list(shelf)


def test_a_snapshot_is_found_by_its_id_its_time_and_its_volume() -> None:
    one = snapshot(1, 5)
    shelf = Catalogue().shelve([one])
    assert names(shelf, "ids") == ["00000001"]
    assert names(shelf, "snapshots") == ["1970-01-01T05:00:00Z", "latest"]
    assert names(shelf, "volumes", "v1") == ["1970-01-01T05:00:00Z", "latest"]


def test_the_latest_is_a_link_to_the_newest() -> None:
    shelf = Catalogue().shelve([snapshot(1, 1), snapshot(2, 2)])
    times = shelf["snapshots"]
    assert isinstance(times, dict)
    assert times["latest"] == "1970-01-01T02:00:00Z"


def test_a_time_is_written_as_the_snapshot_has_it() -> None:
    assert names(Catalogue().shelve([snapshot(1, offset=90)]), "snapshots")[0] == "1970-01-01T01:30:00+01:30"


def test_images_are_by_their_names() -> None:
    assert names(Catalogue().shelve([snapshot(1, path="/image/disk1")]), "images") == ["disk1"]


def test_ids_that_begin_alike_are_told_apart() -> None:
    alike = [snapshot(1, snapshot_id="ab" * 32), snapshot(2, snapshot_id="ab" * 31 + "cd")]
    assert names(Catalogue().shelve(alike), "ids") == ["abababab", "ababababa"]


def test_snapshots_of_one_second_are_told_apart() -> None:
    same = [snapshot(1), snapshot(2)]
    assert names(Catalogue().shelve(same), "snapshots")[:2] == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z-1"]


def test_a_name_is_never_given_to_another_snapshot() -> None:
    catalogue = Catalogue()
    catalogue.shelve([snapshot(1), snapshot(2)])
    assert names(catalogue.shelve([snapshot(2)]), "snapshots")[0] == "1970-01-01T00:00:00Z-1"
    assert names(catalogue.shelve([snapshot(3)]), "snapshots")[0] == "1970-01-01T00:00:00Z-2"


def test_a_volume_is_found_by_its_name_too() -> None:
    shelf = Catalogue().shelve([snapshot(1, path="/cinder/6c9f0e2a-6d5e", name="web")])
    assert shelf["names"] == {"web_6c9f0e2a": "../volumes/6c9f0e2a-6d5e"}


def test_volumes_of_one_name_are_told_apart() -> None:
    both = [snapshot(1, path="/cinder/11111111-a", name="web"), snapshot(2, path="/cinder/11111111-b", name="web")]
    assert Catalogue().shelve(both)["names"] == {
        "web_11111111": "../volumes/11111111-a",
        "web_11111111-b": "../volumes/11111111-b",
    }


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "a/b", "x" * 300, "zwölf", "a\0b"])
def test_no_name_of_a_volume_leads_elsewhere(name: str) -> None:
    links = Catalogue().shelve([snapshot(1, path="/cinder/11111111-a", name=name)])["names"]
    assert isinstance(links, dict)
    (word,) = links
    assert word.endswith("_11111111")
    assert "/" not in word
    assert "\0" not in word
    assert len(word.encode()) < 256


@pytest.mark.parametrize("path", ["/image/..", "/image/.", "/image/", "/image/a/b", "/cinder/../x", "/home"])
def test_paths_that_are_no_name_are_only_found_by_id_and_time(path: str) -> None:
    shelf = Catalogue().shelve([snapshot(1, path=path)])
    assert names(shelf, "images") == names(shelf, "volumes") == []
    assert names(shelf, "ids") == ["00000001"]
