"""Verification finds every difference, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from icebrick.engine.file.select import select
from icebrick.testing.oddtree import describe, plant
from icebrick.testing.storedtrees import StoredTree, TreeMaker, store_folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredTree:
    folder = tmp_path_factory.mktemp("odd")
    plant(folder, entries=40, privileged=os.geteuid() == 0)
    return store_folder(folder)


@pytest.fixture
def target(tmp_path: Path, stored: StoredTree) -> Path:
    stored.restore(tmp_path / "target")
    return tmp_path / "target"


def edit(path: Path, change: Callable[[Path], object]) -> None:
    """Change a file and put its time back."""
    before = path.lstat()
    change(path)
    if os.path.lexists(path):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


CHANGES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "first byte": ("/files/small", "content differs", lambda path: flip(path, 0)),
    "late byte": ("/files/large", "content differs", lambda path: flip(path, 9_300_000)),
    "byte in a hole": ("/files/all hole", "content differs", lambda path: flip(path, 2_000_000)),
    "size": ("/files/small", "12 bytes instead of 11", lambda path: os.truncate(path, 12)),
    "permissions": ("/files/empty", "permissions 0o600 instead of", lambda path: path.chmod(0o600)),
    "time": ("/files/empty", "modification time", lambda path: None),
    "missing": ("/files/empty", "it is missing", Path.unlink),
    "missing folder": ("/links/below", "it is missing", shutil.rmtree),
    "link target": ("/links/relative", "it points to", lambda path: (path.unlink(), path.symlink_to("two"))),
    "attribute": ("/attributes/user", "user.text", lambda path: os.setxattr(path, "user.text", b"x")),
    "attribute of a folder": ("/names", "user.x", lambda path: os.setxattr(path, "user.x", b"x")),
    "no acl": ("/attributes/acl", "permissions", lambda path: path.chmod(0o600)),
    "kind": ("/files/empty", "another kind of file: p instead of -", lambda path: (path.unlink(), os.mkfifo(path))),
    "torn apart": (
        "/links/one",
        "not the same file",
        lambda path: (path.unlink(), path.write_bytes(b"three names")),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_is_found_and_told(change: str, stored: StoredTree, target: Path) -> None:
    where, reason, act = CHANGES[change]
    path = target / where.lstrip("/")
    if change == "time":
        os.utime(path, (0, 0))
    else:
        edit(path, act)
        edit(path.parent, lambda _: None)
    found = {problem.path: problem.reason for problem in stored.verify(target).first_mismatches}
    assert reason in found[where]


def test_files_that_share_what_they_should_not_are_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"the same")
        os.utime(tmp_path / name, (1, 1))
    stored = store_folder(tmp_path)
    (tmp_path / "two").unlink()
    os.link(tmp_path / "one", tmp_path / "two")
    stored.restore(tmp_path / "elsewhere")
    assert "the same file as another" in stored.verify(tmp_path).first_mismatches[-1].reason
    assert stored.verify(tmp_path / "elsewhere").mismatches == 0


def test_what_is_right_is_counted_with_its_digest(stored: StoredTree, target: Path) -> None:
    stats = stored.verify(target)
    assert (stats.mismatches, stats.extra) == (0, 0)
    assert stats.entries == 1 + len(list(target.rglob("*")))
    assert stats.size == sum(entry.size for entry in describe(target).values())
    assert stored.root.subtree is not None
    assert stats.digest == stored.root.subtree.hex()


def test_extra_files_are_no_difference_but_counted(stored: StoredTree, target: Path) -> None:
    before = (target / "names").stat()
    (target / "names" / "extra").touch()
    os.utime(target / "names", ns=(before.st_atime_ns, before.st_mtime_ns))
    stats = stored.verify(target)
    assert (stats.extra, stats.mismatches) == (1, 0)


def test_only_what_is_selected_is_compared(stored: StoredTree, target: Path) -> None:
    shutil.rmtree(target / "names")
    selection = select(["/files"], ["large"])
    (target / "files" / "large").unlink()
    before = stored.verify(target, selection)
    assert (before.mismatches, before.first_mismatches[0].path) == (1, "/files")  # its time


@pytest.mark.damages_repository("blobs are missing")
def test_what_the_repository_lacks_is_a_difference_not_an_end(tmp_path: Path) -> None:
    make = TreeMaker()
    files = [make.file("bad", b"x"), make.file("good", b"y")]
    make.tree(*files).restore(tmp_path / "target")
    stored = make.tree(replace(files[0], content=bytes(32)), files[1], make.raw_directory("folder", b"nonsense"))
    (tmp_path / "target" / "folder").mkdir()
    found = {problem.path: problem.reason for problem in stored.verify(tmp_path / "target").first_mismatches}
    assert "in no index" in found["/bad"]
    assert "/good" not in found
    assert "JSON" in found["/folder"]


def test_nothing_is_left_open(stored: StoredTree, target: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    stored.verify(target)
    assert len(os.listdir("/proc/self/fd")) == before
