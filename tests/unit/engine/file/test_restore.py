"""Restored files are what was backed up; what is right already is left alone; the rules for what is not are kept."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from icebrick.engine.file.options import FileRestoreOptions, Overwrite
from icebrick.engine.file.outcome import FileRestoreStats
from icebrick.engine.file.select import select
from icebrick.testing.oddtree import describe, plant
from icebrick.testing.storedtrees import StoredTree, store_folder

MIB = 1 << 20
NEW, OLD = 1_700_000_000, 1_000_000_000


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    plant(folder, entries=40, privileged=os.geteuid() == 0)
    return folder


@pytest.fixture(scope="module")
def stored_odd(odd: Path) -> StoredTree:
    return store_folder(odd)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def write(path: Path, content: bytes, mtime: int = OLD) -> Path:
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return path


def inode(path: Path) -> int:
    return path.lstat().st_ino


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def reasons(stats: FileRestoreStats) -> dict[str, str]:
    return {problem.path: problem.reason for problem in stats.first_problems}


class TestEverything:
    def test_comes_back_in_all_its_oddity(self, odd: Path, stored_odd: StoredTree, target: Path) -> None:
        stats = stored_odd.restore(target)
        assert (stats.problems, stats.owners_refused, stats.unchanged) == (0, 0, 0)
        assert describe(target) == describe(odd)

    def test_is_left_alone_where_it_is_right(self, stored_odd: StoredTree, target: Path) -> None:
        restored = stored_odd.restore(target).restored
        before = {path: os.lstat(path).st_ctime_ns for path in target.rglob("*")}
        stats = stored_odd.restore(target, FileRestoreOptions(delete_extra=True))
        assert stats == FileRestoreStats(unchanged=restored)
        assert {path: os.lstat(path).st_ctime_ns for path in target.rglob("*")} == before

    def test_is_mended_where_it_is_not(self, odd: Path, stored_odd: StoredTree, target: Path) -> None:
        stored_odd.restore(target)
        write(target / "files" / "small", b"other bytes", NEW)
        (target / "files" / "mode 4").chmod(0o600)
        (target / "links" / "below").chmod(0o700)
        (target / "links" / "below" / "third").unlink()
        (target / "links" / "another").unlink()
        write(target / "links" / "another", b"three names")
        (target / "links" / "long").unlink()
        (target / "links" / "long").symlink_to("short")
        os.setxattr(target / "names", "user.extra", b"x")
        os.setxattr(target / "attributes" / "user", "user.text", b"another")
        os.removexattr(target / "attributes" / "acl", "system.posix_acl_access")
        os.removexattr(target / "attributes" / "inherits", "system.posix_acl_default")
        shutil.rmtree(target / "deep")
        stats = stored_odd.restore(target)
        assert stats.problems == 0
        assert describe(target) == describe(odd)

    def test_stays_sparse(self, stored_odd: StoredTree, target: Path) -> None:
        stored_odd.restore(target)
        assert allocated(target / "files" / "all hole") == 0
        assert allocated(target / "files" / "sparse") <= 2 * MIB
        assert (target / "files" / "sparse").stat().st_size == 20 * MIB + 5

    def test_leaves_nothing_open(self, stored_odd: StoredTree, target: Path) -> None:
        before = len(os.listdir("/proc/self/fd"))
        stored_odd.restore(target)
        assert len(os.listdir("/proc/self/fd")) == before


class TestExistingFile:
    def test_gets_only_the_blocks_that_differ(self, source: Path, target: Path) -> None:
        content = os.urandom(4 * MIB)
        stored = store_folder(write(source / "file", content).parent)
        write(target / "file", content[: 2 * MIB] + b"other" + content[2 * MIB + 5 :])
        before = inode(target / "file")
        stats = stored.restore(target)
        assert (target / "file").read_bytes() == content
        assert inode(target / "file") == before
        assert 0 < stats.written <= MIB

    @pytest.mark.parametrize("there", [b"", b"short", b"x" * 3 * MIB], ids=["empty", "shorter", "longer"])
    def test_of_another_size_is_put_right(self, there: bytes, source: Path, target: Path) -> None:
        content = b"x" * 1000 + bytes(MIB)
        stored = store_folder(write(source / "file", content).parent)
        write(target / "file", there)
        assert stored.restore(target).problems == 0
        assert (target / "file").read_bytes() == content

    def test_gets_holes_where_zeros_belong(self, source: Path, target: Path) -> None:
        stored = store_folder(write(source / "file", b"a" * MIB + bytes(6 * MIB)).parent)
        write(target / "file", b"b" * 7 * MIB)
        stored.restore(target)
        assert (target / "file").read_bytes() == b"a" * MIB + bytes(6 * MIB)
        assert allocated(target / "file") <= 2 * MIB

    def test_with_another_name_outside_is_made_anew(self, source: Path, target: Path) -> None:
        stored = store_folder(write(source / "file", b"the backup's").parent)
        other = write(target.parent / "outside", b"not to be changed")
        os.link(other, target / "file")
        stored.restore(target)
        assert (target / "file").read_bytes() == b"the backup's"
        assert other.read_bytes() == b"not to be changed"
        assert other.stat().st_mtime == OLD

    def test_that_two_files_share_is_parted(self, source: Path, target: Path) -> None:
        for name in ("one", "two"):
            write(source / name, b"the same")
        stored = store_folder(source)
        os.link(write(target / "one", b"the same"), target / "two")
        stored.restore(target)
        assert describe(target) == describe(source)
        assert inode(target / "one") != inode(target / "two")

    def test_that_should_be_shared_is_joined(self, source: Path, target: Path) -> None:
        os.link(write(source / "one", b"the same"), source / "two")
        stored = store_folder(source)
        for name in ("one", "two"):
            write(target / name, b"the same")
        stored.restore(target)
        assert inode(target / "one") == inode(target / "two")

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("file too")])
    def test_replaces_what_is_of_another_kind(self, make: object, source: Path, target: Path) -> None:
        stored = store_folder(write(source / "file", b"content").parent)
        assert callable(make)
        make(target / "file")
        assert stored.restore(target).problems == 0
        assert describe(target) == describe(source)

    def test_does_not_replace_a_directory_that_is_not_empty(self, source: Path, target: Path) -> None:
        stored = store_folder(write(source / "file", b"content").parent)
        (target / "file").mkdir()
        write(target / "file" / "precious", b"x")
        assert reasons(stored.restore(target)) == {"/file": "Directory not empty"}
        assert (target / "file" / "precious").exists()
        assert stored.restore(target, FileRestoreOptions(delete_extra=True)).problems == 0
        assert describe(target) == describe(source)


class TestOverwriting:
    @pytest.fixture
    def stored(self, source: Path) -> StoredTree:
        write(source / "file", b"the backup's")
        (source / "link").symlink_to("the backup's")
        os.utime(source / "link", (OLD, OLD), follow_symlinks=False)
        return store_folder(source)

    def test_never_leaves_all_that_is_there(self, stored: StoredTree, target: Path) -> None:
        write(target / "file", b"mine")
        (target / "link").symlink_to("mine")
        target.chmod(0o700)
        stats = stored.restore(target, FileRestoreOptions(overwrite=Overwrite.NEVER))
        assert (stats.kept, stats.restored, stats.problems) == (2, 0, 0)
        assert ((target / "file").read_bytes(), (target / "link").readlink()) == (b"mine", Path("mine"))
        assert stat.S_IMODE(target.stat().st_mode) == 0o700

    def test_never_makes_what_is_not_there(self, stored: StoredTree, target: Path) -> None:
        assert stored.restore(target, FileRestoreOptions(overwrite=Overwrite.NEVER)).restored == 2
        assert (target / "file").read_bytes() == b"the backup's"

    @pytest.mark.parametrize(("mtime", "content"), [(OLD - 1, b"the backup's"), (OLD, b"mine"), (NEW, b"mine")])
    def test_if_newer_goes_by_the_time(self, mtime: int, content: bytes, stored: StoredTree, target: Path) -> None:
        write(target / "file", b"mine", mtime)
        stored.restore(target, FileRestoreOptions(overwrite=Overwrite.IF_NEWER))
        assert (target / "file").read_bytes() == content

    @pytest.mark.parametrize(
        ("there", "mtime", "content"),
        [
            (b"MY twelve by", OLD, b"MY twelve by"),
            (b"MY twelve by", NEW, b"the backup's"),
            (b"mine", OLD, b"the backup's"),
        ],
        ids=["same size and time", "other time", "other size"],
    )
    def test_if_changed_believes_size_and_time(
        self, there: bytes, mtime: int, content: bytes, stored: StoredTree, target: Path
    ) -> None:
        write(target / "file", there, mtime)
        stored.restore(target, FileRestoreOptions(overwrite=Overwrite.IF_CHANGED))
        assert (target / "file").read_bytes() == content

    def test_always_believes_nothing(self, stored: StoredTree, target: Path) -> None:
        write(target / "file", b"MY twelve by")
        stored.restore(target)
        assert (target / "file").read_bytes() == b"the backup's"


class TestSelection:
    @pytest.fixture
    def stored(self, source: Path) -> StoredTree:
        for name in ("a/deep/wanted.txt", "a/deep/other.bin", "b/wanted.txt", "c/other.bin"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            write(source / name, b"x")
        (source / "a").chmod(0o710)
        return store_folder(source)

    def test_included_files_come_with_the_directories_they_need(self, stored: StoredTree, target: Path) -> None:
        target.chmod(0o711)
        stored.restore(target, FileRestoreOptions(select(["*.txt"])))
        assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [
            "a", "a/deep", "a/deep/wanted.txt", "b", "b/wanted.txt"
        ]  # fmt: skip
        assert stat.S_IMODE((target / "a").stat().st_mode) == 0o710
        assert stat.S_IMODE(target.stat().st_mode) == 0o711

    def test_directories_that_were_there_stay_as_they_are(self, stored: StoredTree, target: Path) -> None:
        (target / "a").mkdir(mode=0o700)
        stored.restore(target, FileRestoreOptions(select(["wanted.txt"])))
        assert stat.S_IMODE((target / "a").stat().st_mode) == 0o700

    def test_excluded_files_do_not_come(self, stored: StoredTree, source: Path, target: Path) -> None:
        stored.restore(target, FileRestoreOptions(select([], ["*.txt"])))
        assert {path.name for path in target.rglob("*") if path.is_file()} == {"other.bin"}


class TestDeletingExtra:
    @pytest.fixture
    def stored(self, source: Path) -> StoredTree:
        (source / "folder").mkdir()
        write(source / "folder" / "file", b"x")
        return store_folder(source)

    def test_removes_what_the_backup_has_not(self, stored: StoredTree, source: Path, target: Path) -> None:
        stored.restore(target)
        (target / "folder" / "extra" / "deep").mkdir(parents=True)
        write(target / "folder" / "extra" / "deep" / "file", b"x")
        os.mkfifo(target / "fifo")
        stats = stored.restore(target, FileRestoreOptions(delete_extra=True))
        assert (stats.removed, stats.problems) == (2, 0)
        assert describe(target) == describe(source)

    def test_removes_links_and_not_what_they_point_to(self, stored: StoredTree, target: Path) -> None:
        outside = target.parent / "outside"
        outside.mkdir()
        write(outside / "file", b"x")
        (target / "link").symlink_to(outside)
        (target / "extra").mkdir()
        (target / "extra" / "link").symlink_to(outside)
        stored.restore(target, FileRestoreOptions(delete_extra=True))
        assert (outside / "file").exists()
        assert sorted(path.name for path in target.iterdir()) == ["folder"]

    def test_leaves_what_is_not_selected(self, stored: StoredTree, target: Path) -> None:
        for name in ("extra.txt", "extra.bin"):
            write(target / name, b"x")
        stored.restore(target, FileRestoreOptions(select([], ["*.bin"]), delete_extra=True))
        assert sorted(path.name for path in target.iterdir()) == ["extra.bin", "folder"]
        stored.restore(target, FileRestoreOptions(select(["/folder"]), delete_extra=True))
        assert (target / "extra.bin").exists()

    def test_is_not_done_unasked(self, stored: StoredTree, target: Path) -> None:
        write(target / "extra", b"x")
        stored.restore(target)
        assert (target / "extra").exists()


def test_a_socket_in_use_is_replaced_by_one_that_is_not(source: Path, target: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "socket"))
    stored = store_folder(source)
    stats = stored.restore(target)
    assert stats.problems == 0
    assert stat.S_ISSOCK((target / "socket").stat().st_mode)
