"""Whatever a backup says and whatever others do meanwhile, nothing outside the target is touched; the rest goes on."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from icebrick.engine.file import restore, walk
from icebrick.engine.file import target as target_module
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.engine.file.outcome import FileRestoreStats
from icebrick.errors import FileSystemError
from icebrick.repository.ids import BlobType
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import MODE_DIR, MODE_SYMLINK, ExtendedAttribute, Node, encode_tree
from icebrick.testing.storedtrees import StoredTree, TreeMaker, opened

pytestmark = pytest.mark.damages_repository("what is in them is in no snapshot, and some of it is nonsense")


@pytest.fixture
def make() -> TreeMaker:
    return TreeMaker()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def untouched(outside: Path) -> bool:
    return {path.name: path.read_bytes() for path in outside.iterdir()} == {"precious": b"precious"}


def reasons(stats: FileRestoreStats) -> dict[str, str]:
    return {problem.path: problem.reason for problem in stats.first_problems}


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"../outside/precious", b"a\\x00b", b"/etc/passwd"])
def test_a_name_that_leads_elsewhere_spoils_its_directory_alone(
    name: bytes, make: TreeMaker, target: Path, outside: Path
) -> None:
    tree = bytes(encode_tree([make.file("NAME", b"evil")])).replace(b"NAME", name.replace(b"\\", b"\\\\"))
    stored = make.tree(make.raw_directory("bad", tree), make.file("good", b"good"))
    stats = stored.restore(target)
    assert list(reasons(stats)) == ["/bad"]
    assert sorted(os.listdir(target)) == ["bad", "good"]
    assert os.listdir(target / "bad") == []
    assert untouched(outside)


def test_a_directory_is_not_restored_through_a_link_of_the_target(make: TreeMaker, target: Path, outside: Path) -> None:
    (target / "folder").symlink_to(outside)
    make.tree(make.directory("folder", [make.file("precious", b"evil")])).restore(target)
    assert untouched(outside)
    assert (target / "folder" / "precious").read_bytes() == b"evil"
    assert not (target / "folder").is_symlink()


def test_a_link_and_a_directory_of_one_name_do_not_lead_outside(make: TreeMaker, target: Path, outside: Path) -> None:
    link = Node("folder", type="symlink", mode=MODE_SYMLINK | 0o777, linktarget=str(outside))
    folder = make.directory("NAME12", [make.file("precious", b"evil")])
    tree = bytes(encode_tree([link, folder])).replace(b"NAME12", b"folder")
    stored = StoredTree(make.raw_directory("files", tree), make.tree().store)
    assert "second entry" in reasons(stored.restore(target))["/folder"]
    assert untouched(outside)


def test_a_file_is_not_written_through_a_link_of_the_target(make: TreeMaker, target: Path, outside: Path) -> None:
    (target / "precious").symlink_to(outside / "precious")
    make.tree(make.file("precious", b"evil")).restore(target)
    assert untouched(outside)
    assert (target / "precious").read_bytes() == b"evil"


def test_a_directory_exchanged_for_a_link_is_not_followed(
    make: TreeMaker, target: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange(directory: int, name: str) -> int:
        os.rmdir(name, dir_fd=directory)
        os.symlink(outside, name, dir_fd=directory)
        return target_module.open_directory(directory, name)

    monkeypatch.setattr(walk, "open_directory", exchange)
    stats = make.tree(make.directory("folder", [make.file("precious", b"evil")])).restore(target)
    assert "cannot be made" in reasons(stats)["/folder"]
    assert untouched(outside)


def test_a_directory_moved_elsewhere_ends_the_restore(
    make: TreeMaker, target: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(directory: int, node: Node, path: tuple[str, ...]) -> None:
        os.rename(target / "folder", outside / "folder")

    stored = make.tree(make.directory("folder", [make.file("precious", b"evil")]), make.file("last", b"x"))
    monkeypatch.setattr(restore._Restore, "_restore", lambda self, *arguments: move(*arguments[:3]))
    with pytest.raises(FileSystemError, match="was moved"):
        stored.restore(target)
    assert sorted(os.listdir(outside)) == ["folder", "precious"]
    assert os.listdir(outside / "folder") == []


def test_a_hard_link_is_made_to_what_was_restored_and_nothing_else(
    make: TreeMaker, target: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (replace(make.file(name, b"x"), links=2, inode=7) for name in ("one", "two"))
    link_entry = restore.link_entry

    def exchange(*arguments: object, **expected: object) -> None:
        (target / "one").unlink()
        os.link(outside / "precious", target / "one")
        link_entry(*arguments, **expected)

    monkeypatch.setattr(restore, "link_entry", exchange)
    stats = make.tree(first, second).restore(target)
    assert "exchanged" in reasons(stats)["/two"]
    assert not (target / "two").exists()
    assert untouched(outside)


def test_a_linked_file_in_a_directory_that_became_a_link_is_not_reached(
    make: TreeMaker, target: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (replace(make.file(name, b"x"), links=2, inode=7) for name in ("precious", "two"))
    link_entry = restore.link_entry

    def exchange(*arguments: object, **expected: object) -> None:
        (target / "a").rename(target / "elsewhere")
        (target / "a").symlink_to(outside)
        link_entry(*arguments, **expected)

    monkeypatch.setattr(restore, "link_entry", exchange)
    folders = make.directory("a", [make.directory("deep", [first])]), make.directory("b", [second])
    stats = make.tree(*folders).restore(target)
    assert reasons(stats)["/b/two"] == os.strerror(errno.ELOOP)
    assert os.stat(outside / "precious").st_nlink == 1


def test_files_that_claim_to_be_one_but_are_of_other_kinds_are_kept_apart(make: TreeMaker, target: Path) -> None:
    file = replace(make.file("file", b"x"), links=2, inode=7)
    link = Node("link", type="symlink", mode=MODE_SYMLINK | 0o777, linktarget="x", links=2, inode=7)
    make.tree(file, link).restore(target)
    assert ((target / "file").is_file(), (target / "link").is_symlink()) == (True, True)


@pytest.mark.parametrize("size", [0, 3, 100, 1 << 62])
def test_a_wrong_size_does_not_make_a_wrong_file(size: int, make: TreeMaker, target: Path) -> None:
    make.tree(replace(make.file("file", b"content"), size=size)).restore(target)
    assert (target / "file").read_bytes() == b"content"


NONSENSE: dict[str, Callable[[Node], Node]] = {
    "unknown type": lambda node: replace(node, type="irregular"),
    "blob that is not there": lambda node: replace(node, content=b"x" * 32),
    "blobs that are not there": lambda node: replace(node, content=b"x" * 64, size=1 << 30),
    "owner beyond all": lambda node: replace(node, uid=1 << 40),
    "time beyond all": lambda node: replace(node, mtime=Timestamp(1 << 100)),
    "attribute that cannot be": lambda node: replace(
        node, extended_attributes=(ExtendedAttribute("no name space", b""),)
    ),
    "attribute with a zero byte": lambda node: replace(node, extended_attributes=(ExtendedAttribute("user.\0", b""),)),
    "mode of two kinds": lambda node: replace(node, mode=MODE_DIR | MODE_SYMLINK),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_told_and_the_rest_restored(nonsense: str, make: TreeMaker, target: Path) -> None:
    good, bad = make.file("good", b"good"), NONSENSE[nonsense](make.file("bad", b"bad"))
    before = len(os.listdir("/proc/self/fd"))
    stats = StoredTree(make.directory("files", [bad, good]), make.tree().store).restore(target)
    assert list(reasons(stats)) == ["/bad"]
    assert (target / "good").read_bytes() == b"good"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_damaged_blob_spoils_only_its_file_and_gives_it_no_time(
    make: TreeMaker, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [make.file(f"file {number}", b"%d" % number * 5000) for number in range(5)]
    stored = make.tree(*files)
    place = stored.store.find(BlobType.DATA, files[2].content)
    assert place is not None
    read = stored.store._read

    def damaged(handle: object, start: int, end: int) -> bytes:
        data = bytearray(read(handle, start, end))  # type: ignore[arg-type]
        if str(handle).endswith(place[0].hex()) and start <= place[1].offset < end:
            data[place[1].offset - start] ^= 1
        return bytes(data)

    monkeypatch.setattr(stored.store, "_read", damaged)
    stats = stored.restore(target)
    assert list(reasons(stats)) == ["/file 2"]
    assert (target / "file 2").stat().st_mtime_ns != files[2].mtime.ns
    assert (target / "file 3").read_bytes() == b"3" * 5000


def test_a_damaged_tree_spoils_only_its_directory_and_removes_nothing(make: TreeMaker, target: Path) -> None:
    (target / "bad").mkdir()
    (target / "bad" / "mine").write_bytes(b"mine")
    stored = make.tree(make.raw_directory("bad", b"{"), make.file("good", b"good"))
    stats = stored.restore(target, FileRestoreOptions(delete_extra=True))
    assert list(reasons(stats)) == ["/bad"]
    assert (target / "bad" / "mine").exists()
    assert (target / "good").exists()


def test_directories_may_be_deeper_than_any_path_can_tell(make: TreeMaker, target: Path) -> None:
    node = make.directory("bottom", [make.file("found", b"x")])
    for _ in range(40):
        node = make.directory("d" * 200, [node])
    stored = make.tree(node)
    assert stored.restore(target).problems == 0
    assert stored.verify(target).mismatches == 0
    assert stored.restore(target).restored == 0
    empty = make.tree()
    assert empty.restore(target, FileRestoreOptions(delete_extra=True)).problems == 0
    assert os.listdir(target) == []


def test_a_full_target_ends_the_restore(make: TreeMaker, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: object, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stored = make.tree(*(make.file(f"{number}", b"x") for number in range(100)))
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(FileSystemError, match="no room is left"):
        stored.restore(target)
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_mounted_below_the_target_is_not_removed(root: None, make: TreeMaker, target: Path) -> None:
    mounted = target / "extra" / "mounted"
    mounted.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], check=True)
    try:
        (mounted / "precious").touch()
        stats = make.tree().restore(target, FileRestoreOptions(delete_extra=True))
        assert reasons(stats)["/extra/mounted"] == f"cannot be removed: {os.strerror(errno.EXDEV)}"
        assert (mounted / "precious").exists()
    finally:
        subprocess.run(["umount", mounted], check=True)


AS_SOMEBODY = """
import os, sys
from dataclasses import replace
from icebrick.engine.file.restore import restore_files
from icebrick.repository.tree import MODE_DEVICE, MODE_SETUID, Node
from icebrick.testing.storedtrees import TreeMaker
make = TreeMaker()
file = replace(make.file("file", b"x"), uid=0, gid=0, mode=0o755 | MODE_SETUID)
stored = make.tree(file, Node("device", type="dev", mode=MODE_DEVICE | 0o600, device=1))
os.setgroups([]); os.setgid(65534); os.setuid(65534)
stats = restore_files(stored.root, stored.store, int(sys.argv[1]))
print(stats.owners_refused, [(problem.path, problem.reason) for problem in stats.first_problems])
"""


def test_others_than_root_get_files_of_their_own_and_are_told(root: None, tmp_path: Path) -> None:
    target = tmp_path / "theirs"
    target.mkdir()
    os.chown(target, 65534, 65534)
    with opened(target) as directory:
        told = subprocess.run(
            [sys.executable, "-c", AS_SOMEBODY, str(directory)],
            capture_output=True,
            text=True,
            check=True,
            pass_fds=[directory],
        ).stdout
    assert told == "2 [('/device', 'Operation not permitted')]\n"  # the folder, and the file in it
    found = (target / "file").stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (65534, 0o755)
