"""Files of a snapshot, restored to this host as a user sees it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.local import LocalBackend
from icebrick.cli import target as target_restore
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import Repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node, encode_tree
from icebrick.secret import Secret
from icebrick.testing.oddtree import describe
from icebrick.testing.repositories import add_tree
from icebrick.testing.storedtrees import save_folder
from icebrick.workflow.restore_files import restore_to_directory

FILES = {"etc/hosts": "127.0.0.1", "etc/ssl/key.pem": "secret", "home/cache/junk": "junk", "home/notes": "notes"}
OLD, NEW = 1_600_000_000, 1_700_000_000


@pytest.fixture
def repository(location: Path) -> Iterator[Repository]:
    with closing(LocalBackend(location)) as backend:
        yield open_repository(backend, Secret(PASSWORD))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        os.utime(folder / name, (OLD, OLD))
    os.symlink("etc/hosts", folder / "link")
    return folder


@pytest.fixture
def snapshot_id(repository: Repository, folder: Path) -> str:
    return save_folder(repository, folder)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "target"


def names(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()}


def test_all_files_come_back_and_are_proven(
    icebrick: Icebrick, snapshot_id: str, folder: Path, target: Path, tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt.json"
    ran = icebrick("restore", "--snapshot", snapshot_id, "--target", target, "--verify", "--receipt", receipt)
    assert ran.code == 0
    assert describe(target) == describe(folder)
    assert "verified: entries: 10, of which 0 differ" in ran.out
    kept = json.loads(receipt.read_text())
    assert (kept["snapshot_id"], kept["files"], kept["mismatches"]) == (snapshot_id, 4, 0)


def test_the_report_is_json(icebrick: Icebrick, snapshot_id: str, target: Path) -> None:
    (summary,) = icebrick("restore", "--single-volume-id", "v1", "--target", target, "--json").json
    assert (summary["message_type"], summary["restored"], summary["problems"]) == ("summary", 10, 0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--include", "/etc"], {"etc/hosts", "etc/ssl/key.pem"}),
        (["--include", "*.pem,notes"], {"etc/ssl/key.pem", "home/notes"}),
        (["--exclude", "cache,*.none", "--exclude", "/etc/ssl"], {"etc/hosts", "home/notes", "link"}),
        (["--include", "/home", "--exclude", "cache"], {"home/notes"}),
    ],
)
def test_only_what_is_asked_for_comes_back(
    icebrick: Icebrick, snapshot_id: str, target: Path, arguments: list[str], expected: set[str]
) -> None:
    ran = icebrick("restore", "--snapshot", snapshot_id, "--target", target, "--verify", *arguments)
    assert (ran.code, names(target)) == (0, expected)


def test_a_pattern_that_nothing_matches_is_told(icebrick: Icebrick, snapshot_id: str, target: Path) -> None:
    ran = icebrick("restore", "--snapshot", snapshot_id, "--target", target, "--include", "/files/etc/hosts")
    assert ran.code == 1
    assert "and not '/files/etc/hosts'" in ran.err


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("always", {"etc/hosts": "127.0.0.1", "home/notes": "notes"}),
        ("if-changed", {"etc/hosts": "127.0.0.1", "home/notes": "NOTES"}),
        ("if-newer", {"etc/hosts": "changed", "home/notes": "NOTES"}),
        ("never", {"etc/hosts": "changed", "home/notes": "NOTES"}),
    ],
)
def test_what_is_there_is_overwritten_by_the_rule(
    icebrick: Icebrick, snapshot_id: str, folder: Path, target: Path, rule: str, expected: dict[str, str]
) -> None:
    for name, text, moment in (("etc/hosts", "changed", NEW), ("home/notes", "NOTES", OLD)):
        (target / name).parent.mkdir(parents=True)
        (target / name).write_text(text)
        os.utime(target / name, (moment, moment))
    ran = icebrick("restore", "--snapshot", snapshot_id, "--target", target, "--overwrite", rule)
    assert ran.code == 0
    assert {name: (target / name).read_text() for name in expected} == expected


@pytest.mark.parametrize(("arguments", "stays"), [([], True), (["--delete-extra"], False)])
def test_what_the_backup_has_not_is_removed_only_when_told(
    icebrick: Icebrick, snapshot_id: str, target: Path, arguments: list[str], stays: bool
) -> None:
    target.mkdir(parents=True)
    (target / "extra").write_text("mine")
    assert icebrick("restore", "--snapshot", snapshot_id, "--target", target, *arguments).code == 0
    assert (target / "extra").exists() is stays


def test_of_what_restic_made_the_whole_snapshot_comes_back(
    icebrick: Icebrick, repository: Repository, target: Path
) -> None:
    add_tree(repository, {"srv": {"data": b"12345"}})
    target.mkdir(parents=True)
    target.chmod(0o751)
    os.utime(target, (OLD, OLD))
    before = target.stat()
    ran = icebrick("restore", "--snapshot", "latest", "--restore-from-date", "2020-01-01", "--target", target)
    assert ran.code == 0, ran.err
    assert (target / "srv" / "data").read_bytes() == b"12345"
    assert (target.stat().st_mode, target.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_differences_end_with_3_and_are_in_the_receipt(
    icebrick: Icebrick, snapshot_id: str, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = tmp_path / "receipt.json"

    def damaging(*arguments: Any, **named: Any) -> Any:
        report = restore_to_directory(*arguments, **named)
        (target / "etc" / "hosts").write_text("damaged!!")
        return report

    monkeypatch.setattr(target_restore, "restore_to_directory", damaging)
    ran = icebrick("restore", "--snapshot", snapshot_id, "--target", target, "--verify", "--receipt", receipt)
    assert ran.code == 3
    assert "/etc/hosts: " in ran.err
    assert [problem["path"] for problem in json.loads(receipt.read_text())["first_mismatches"]] == ["/etc/hosts"]


@pytest.mark.damages_repository("a file's blob is missing")
def test_what_is_damaged_is_told_and_the_rest_restored(
    icebrick: Icebrick, repository: Repository, target: Path
) -> None:
    with repository.load_index().writer() as writer:
        lost = Node("lost", mode=0o644, size=5, content=bytes(range(32)))
        good = Node("good", mode=0o644, size=5, content=writer.save(BlobType.DATA, b"12345"))
        tree = writer.save(BlobType.TREE, encode_tree([lost, good]))
    snapshot_id = repository.save_snapshot(Snapshot(Timestamp(0), tree, ("/srv",), "host"))
    ran = icebrick("restore", "--snapshot", snapshot_id, "--target", target)
    assert ran.code == 3
    assert "/lost: " in ran.err
    assert (target / "good").read_bytes() == b"12345"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--target", "-"], "which go into a directory"),
        (["--force"], "which go into a directory"),
        (["--verify", "--overwrite", "never"], "what overwrite has kept"),
        (["--target", "/", "--delete-extra"], "this host's own files"),
        (["--target", "/dev/null"], "/dev/null is no directory"),
        (["--include", "../x"], "matches no path"),
    ],
)
def test_what_cannot_be_meant_is_told(
    icebrick: Icebrick, snapshot_id: str, target: Path, arguments: list[str], problem: str
) -> None:
    ran = icebrick("restore", "--snapshot", snapshot_id, "--target", target, *arguments)
    assert (ran.code, problem in ran.err) == (2, True)


@pytest.mark.parametrize("arguments", [[], ["--include", "/etc"], ["--delete-extra"]])
def test_an_image_has_no_single_files(
    icebrick: Icebrick, location: Path, disk: Path, tmp_path: Path, arguments: list[str]
) -> None:
    icebrick("backup", "--image", disk, "--name", "disk1", "--quiet")
    target = tmp_path / "a file" if arguments else tmp_path
    ran = icebrick("restore", "--image-name", "disk1", "--target", target, *arguments)
    assert (ran.code, "has the blocks of an image, and no single files" in ran.err) == (2, True)
