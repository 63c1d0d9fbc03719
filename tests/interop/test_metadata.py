"""Directories that we describe, as stock restic shows and restores them."""

from __future__ import annotations

import base64
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import Repository, init_repository
from icebrick.repository.snapshot import Snapshot, SnapshotSummary
from icebrick.repository.timestamp import Timestamp, now, parse_timestamp
from icebrick.repository.tree import ExtendedAttribute, Node, encode_tree, go_mode
from icebrick.secret import Secret
from icebrick.testing.repositories import CHEAP
from icebrick.testing.restic import Restic

PASSWORD = "geheim"
TIME = Timestamp(1_700_000_000_123_456_789)
ODD_NAMES = ["plain", 'quo"te\\', "tab\tline\nbell\a", "<&>", "löß\u2028😀", "\u200b", "\ufffd", "raw\udcff"]


@pytest.fixture
def stock(restic: str, tmp_path: Path) -> Restic:
    return Restic(restic, tmp_path / "repository", PASSWORD)


@pytest.fixture
def repository(stock: Restic) -> Repository:
    return init_repository(LocalBackend(stock.repository), Secret(PASSWORD), parameters=CHEAP)


def file(name: str) -> Node:
    """Its content shall be its name."""
    return Node(name, mode=go_mode(stat.S_IFREG | 0o640), mtime=TIME, atime=TIME, ctime=TIME)


def save(repository: Repository, *nodes: Node) -> Snapshot:
    """A snapshot with these at its root."""
    with repository.load_index().writer() as writer:
        tree = writer.save(
            BlobType.TREE,
            encode_tree(
                replace(node, size=len(content := os.fsencode(node.name)), content=writer.save(BlobType.DATA, content))
                if node.type == "file"
                else node
                for node in nodes
            ),
        )
    snapshot = Snapshot(now(), tree, ("/",), "host")
    return replace(snapshot, id=repository.save_snapshot(snapshot))


def restored(stock: Restic, tmp_path: Path) -> Path:
    stock.run("restore", "latest", "--target", str(tmp_path / "target"))
    return tmp_path / "target"


def test_restic_checks_and_restores_any_name(repository: Repository, stock: Restic, tmp_path: Path) -> None:
    save(repository, *map(file, ODD_NAMES))
    stock.run("check", "--read-data")
    target = restored(stock, tmp_path)
    assert {name: (target / name).read_bytes() for name in os.listdir(target)} == {
        name: os.fsencode(name) for name in ODD_NAMES
    }


def test_restic_restores_modes_and_times_of_every_kind(repository: Repository, stock: Restic, tmp_path: Path) -> None:
    modes = {
        "suid": stat.S_IFREG | 0o4711,
        "dir": stat.S_IFDIR | stat.S_ISVTX | 0o775,
        "fifo": stat.S_IFIFO | 0o604,
    }
    with repository.load_index().writer() as writer:
        empty = writer.save(BlobType.TREE, encode_tree([]))
    save(
        repository,
        replace(file("suid"), mode=go_mode(modes["suid"])),
        replace(file("dir"), type="dir", mode=go_mode(modes["dir"]), subtree=empty),
        replace(file("fifo"), type="fifo", mode=go_mode(modes["fifo"])),
        replace(file("link"), type="symlink", mode=go_mode(stat.S_IFLNK | 0o777), linktarget="../<ö>"),
    )
    target = restored(stock, tmp_path)
    assert {name: (target / name).lstat().st_mode for name in modes} == modes
    assert {(target / name).lstat().st_mtime_ns for name in os.listdir(target)} == {TIME.ns}
    assert os.readlink(target / "link") == "../<ö>"


def test_restic_reads_the_fields_we_write(repository: Repository, stock: Restic) -> None:
    node = replace(
        file("f"),
        uid=1,
        gid=2,
        user="üser",
        group="gr<p",
        inode=2**63,
        device_id=4,
        links=2,
        extended_attributes=(ExtendedAttribute("user.a", b"\0\xff"),),
    )
    save(repository, node)
    [shown] = [entry for entry in listing(stock) if entry.get("name") == "f"]
    assert (shown["uid"], shown["gid"], shown["size"]) == (1, 2, 1)
    assert parse_timestamp(shown["mtime"]) == TIME
    [stored] = stock.json("cat", "blob", tree_id(repository))["nodes"]
    assert (stored["user"], stored["group"], stored["inode"], stored["links"]) == ("üser", "gr<p", 2**63, 2)
    assert base64.b64decode(stored["extended_attributes"][0]["value"]) == b"\0\xff"


def listing(stock: Restic) -> list[dict[str, object]]:
    return [json.loads(line) for line in stock.run("ls", "latest", "--json").splitlines()]


def tree_id(repository: Repository) -> str:
    return repository.find_snapshot("latest").tree.hex()


def test_restic_finds_our_snapshot_by_host_tag_and_time(repository: Repository, stock: Restic) -> None:
    first = save(repository, file("f"))
    moment = parse_timestamp("2020-02-29T23:59:59.5+05:30")
    summary = SnapshotSummary(moment, moment, files_new=1, data_added=2)
    tagged = replace(
        first, time=moment, hostname="volumes.cloud", tags=("volume=ö", "b"), summary=summary, parent=first.id
    )
    snapshot_id = repository.save_snapshot(tagged)
    [found] = stock.json("snapshots", "--host", "volumes.cloud", "--tag", "volume=ö,b")
    assert (found["id"], found["parent"]) == (snapshot_id, first.id)
    assert parse_timestamp(found["time"]) == moment


def test_restic_forgets_our_snapshots_as_its_own(repository: Repository, stock: Restic) -> None:
    first = save(repository, file("f"))
    newer = repository.save_snapshot(replace(first, time=Timestamp(first.time.ns + 1)))
    stock.run("forget", "--keep-last", "1", "--prune")
    assert repository.snapshot_ids() == [newer]
    stock.run("check", "--read-data")
