"""What `icebrick diff` and `icebrick stats` say to people; what they count, see tests/interop/test_diff_stats.py."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.local import LocalBackend
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import MODE_DIR, Node, encode_tree
from icebrick.secret import Secret
from icebrick.testing.repositories import Tree, add_tree
from icebrick.workflow.naming import volume_path

MIB = 1 << 20


@pytest.fixture
def images(icebrick: Icebrick, location: Path, disk: Path) -> list[str]:
    """Ids of two backups of an image, of which the second block has changed."""

    def back_up() -> str:
        (summary,) = icebrick("backup", "--image", disk, "--name", "disk1", "--json").json
        return str(summary["backups"][0]["snapshot_id"])

    first = back_up()
    with disk.open("r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    return [first, back_up()]


def add(location: Path, volume: str, *trees: Tree) -> list[str]:
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        return [add_tree(repository, tree, second, paths=(volume_path(volume),)) for second, tree in enumerate(trees)]


def test_of_images_it_is_told_which_ranges_differ(icebrick: Icebrick, images: list[str]) -> None:
    lines = icebrick("diff", *images, "--ranges").out.splitlines()
    assert "M    /volume.raw" in lines
    assert "image: 1 of 8 blocks of 1.0 MiB differ, 1.0 MiB" in lines
    assert f"     bytes {MIB} to {2 * MIB}, 1.0 MiB" in lines


def test_the_ranges_are_told_as_json_too(icebrick: Icebrick, images: list[str]) -> None:
    records = {record["message_type"]: record for record in icebrick("diff", *images, "--ranges", "--json").json}
    assert records["image"]["ranges"] == [[MIB, MIB]]
    assert records["image"]["changed_size"] == MIB
    assert records["statistics"]["changed_files"] == 2  # the image and its fingerprints


def test_names_cannot_forge_lines(icebrick: Icebrick, location: Path) -> None:
    ids = add(location, "v1", {"a": b""}, {"a": b"", "x\n-    etc": b""})
    assert "+    /x\\n-    etc" in icebrick("diff", *ids).out.splitlines()


def test_directories_that_nest_very_deep_are_compared(icebrick: Icebrick, location: Path) -> None:
    (empty,) = add(location, "v1", {})
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        with repository.load_index().writer() as writer:
            tree = writer.save(BlobType.TREE, encode_tree([]))
            for _ in range(1100):
                tree = writer.save(BlobType.TREE, encode_tree([Node("d", type="dir", mode=MODE_DIR, subtree=tree)]))
        deep = repository.save_snapshot(Snapshot(Timestamp(0), tree, ("/deep",), "host"))
    assert icebrick("diff", empty, deep).out.count("+    /d") == 1100


def test_stats_are_of_what_is_asked_for(icebrick: Icebrick, location: Path) -> None:
    add(location, "v1", {"a": b"1234"}, {"a": b"12345"})
    (only,) = add(location, "v2", {"a": b"123456"})
    assert icebrick("stats", "--single-volume-id", "v1").out == "snapshots: 2\nfiles:     2\nsize:      9 B\n"
    assert icebrick("stats", only[:12]).out == "snapshots: 1\nfiles:     1\nsize:      6 B\n"
    assert icebrick("stats").out == "snapshots: 3\nfiles:     3\nsize:      15 B\n"


def test_what_is_shared_is_stored_once(icebrick: Icebrick, location: Path) -> None:
    add(location, "v1", {"a": b"x" * 100_000}, {"a": b"x" * 100_000, "b": b""})
    (record,) = icebrick("stats", "--mode", "raw-data", "--json").json
    assert record["total_blob_count"] == 2 + 2  # trees, and the pieces of a file, of which all but the last are equal
    assert record["total_size"] < record["total_uncompressed_size"]


@pytest.mark.parametrize("words", [["stats", "ffff"], ["diff", "ffff", "latest"], ["diff", "latest", "zz"]])
def test_a_snapshot_that_is_not_there_is_an_error(icebrick: Icebrick, location: Path, words: list[str]) -> None:
    add(location, "v1", {"a": b""})
    assert icebrick(*words).code == 1
