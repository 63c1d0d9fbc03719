"""Only what has changed is read; what cannot be read is told; nothing a file system says does any harm."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file import pending
from icebrick.engine.file.backup import FilesResult, backup_files
from icebrick.engine.file.base import MAX_DEPTH, FileTree, Problem
from icebrick.engine.file.chunks import CHUNK_SIZE
from icebrick.engine.file.hosttree import HostTree
from icebrick.engine.file.parent import FilesBaseline
from icebrick.errors import Interrupted
from icebrick.parallel import Slots, Stop
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.repository import Repository
from icebrick.repository.tree import ExtendedAttribute, Node, decode_tree
from icebrick.testing.faketree import FakeTree, Planted, directory, file
from icebrick.testing.images import small_repository

MIB = 1 << 20


@dataclass
class Stored:
    """A backup in a repository, and how to look into it."""

    store: BlobStore
    result: FilesResult

    @property
    def baseline(self) -> FilesBaseline:
        assert self.result.node.subtree is not None
        return FilesBaseline(self.store, self.result.node.subtree)

    def nodes(self, *path: str) -> dict[str, Node]:
        node = self.result.node
        for name in path:
            node = {found.name: found for found in self._below(node)}[name]
        return {found.name: found for found in self._below(node)}

    def _below(self, node: Node) -> list[Node]:
        assert node.subtree is not None
        return decode_tree(self.store.load(BlobType.TREE, node.subtree))

    def content(self, node: Node) -> bytes:
        ids = [node.content[start : start + ID_SIZE] for start in range(0, len(node.content), ID_SIZE)]
        return b"".join(self.store.load(BlobType.DATA, blob_id) for blob_id in ids)


@pytest.fixture
def repository() -> Repository:
    return small_repository(MemoryBackend())


def back_up(repository: Repository, tree: FileTree, parent: Stored | None = None) -> Stored:
    store = repository.load_index()
    baseline = None if parent is None else FilesBaseline(store, parent.baseline.tree)
    with store.writer() as writer:
        result = backup_files(tree, writer, baseline=baseline, slots=Slots(2))
    return Stored(store, result)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "deep").write_bytes(b"deep down")
    (folder / "a" / "one").write_bytes(b"one")
    (folder / "two").write_bytes(b"two" * 100_000)
    (folder / "large").write_bytes(random.Random(1).randbytes(9 * MIB + 7))
    os.symlink("two", folder / "link")
    return folder


@pytest.fixture
def tree(folder: Path) -> Iterator[HostTree]:
    descriptor = os.open(folder, os.O_PATH)
    yield HostTree(descriptor)
    os.close(descriptor)


def test_all_files_of_a_folder_are_stored(repository: Repository, folder: Path, tree: HostTree) -> None:
    stored = back_up(repository, tree)
    assert sorted(stored.nodes()) == ["a", "large", "link", "two"]
    for path in ("large", "two"):
        assert stored.content(stored.nodes()[path]) == (folder / path).read_bytes()
    assert stored.content(stored.nodes("a", "b")["deep"]) == b"deep down"
    stats = stored.result.stats
    assert (stats.files_new, stats.dirs_new, stats.others) == (4, 2, 1)
    assert stats.bytes_read == stats.bytes_total == 9 * MIB + 7 + 300_000 + 9 + 3
    assert stored.result.problems == ()


def test_users_and_groups_have_no_names_as_the_hosts_are_not_the_volumes(
    repository: Repository, tree: HostTree
) -> None:
    nodes = back_up(repository, tree).nodes()
    assert {(node.user, node.group) for node in nodes.values()} == {("", "")}
    assert {node.uid for node in nodes.values()} == {os.getuid()}


def test_the_root_stands_for_itself(repository: Repository, folder: Path, tree: HostTree) -> None:
    folder.chmod(0o1751)
    os.setxattr(folder, "user.root", b"yes")
    node = back_up(repository, tree).result.node
    assert (node.name, node.type, node.mode & 0o777) == ("files", "dir", 0o751)
    assert node.extended_attributes == (ExtendedAttribute("user.root", b"yes"),)
    assert node.mtime.ns == folder.stat().st_mtime_ns


def test_an_unchanged_tree_is_stored_without_opening_a_file(repository: Repository) -> None:
    tree = FakeTree(file("one", b"1"), directory("a", [file("two", b"2")]), directory("empty"))
    first = back_up(repository, tree)
    tree.read.clear()
    second = back_up(repository, tree, first)
    assert tree.read == []
    assert second.result.node.subtree == first.result.node.subtree
    stats = second.result.stats
    assert (stats.files_unmodified, stats.dirs_unmodified, stats.bytes_read, stats.bytes_total) == (2, 2, 0, 2)
    assert (stats.files_new, stats.files_changed, stats.dirs_new, stats.dirs_changed) == (0, 0, 0, 0)


def test_what_was_changed_when_the_parent_was_frozen_may_have_been_changed_again_unseen(
    repository: Repository,
) -> None:
    early, late = file("early", b"1"), file("late", b"2")
    late.entry = late.entry._replace(ctime_ns=early.entry.ctime_ns + 1)
    tree = FakeTree(early, late)
    baseline = replace(back_up(repository, tree).baseline, settled_ns=late.entry.ctime_ns)
    late.content = b"3"
    tree.read.clear()
    with baseline.store.writer() as writer:
        second = Stored(baseline.store, backup_files(tree, writer, baseline=baseline, slots=Slots(2)))
    assert tree.read == ["late"]
    assert second.content(second.nodes()["late"]) == b"3"
    assert second.result.stats.files_unmodified == 1


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "mtime_ns", "ctime_ns", "inode", "device", "links", "size"])
def test_a_file_is_read_again_when_anything_lstat_tells_has_changed(repository: Repository, field: str) -> None:
    changing = file("changing", b"12345")
    tree = FakeTree(directory("a", [changing, file("same", b"x")]), directory("b", [file("other", b"y")]))
    first = back_up(repository, tree)
    changing.entry = changing.entry._replace(
        **{field: getattr(changing.entry, field) - 1 if field == "size" else getattr(changing.entry, field) ^ 1}
    )
    changing.content = b"54321"
    tree.read.clear()
    second = back_up(repository, tree, first)
    assert tree.read == ["changing"]
    assert second.content(second.nodes("a")["changing"]) == changing.content[: changing.entry.size]
    assert second.content(second.nodes("a")["same"]) == b"x"
    assert second.nodes()["b"] == first.nodes()["b"]
    stats = second.result.stats
    assert (stats.files_changed, stats.files_unmodified, stats.dirs_changed, stats.dirs_unmodified) == (1, 2, 1, 1)


def test_changed_folders_keep_what_is_unchanged_below_them(
    repository: Repository, folder: Path, tree: HostTree
) -> None:
    first = back_up(repository, tree)
    (folder / "a" / "new").write_bytes(b"new")
    (folder / "two").unlink()
    os.setxattr(folder / "a" / "b", "user.changed", b"1")
    second = back_up(repository, tree, first)
    assert sorted(second.nodes()) == ["a", "large", "link"]
    assert sorted(second.nodes("a")) == ["b", "new", "one"]
    assert second.nodes("a")["b"].extended_attributes == (ExtendedAttribute("user.changed", b"1"),)
    assert second.nodes("a")["b"].subtree == first.nodes("a")["b"].subtree
    assert second.result.stats.bytes_read == 3


def test_a_name_that_now_means_something_else_is_stored_as_what_it_is(repository: Repository) -> None:
    tree = FakeTree(file("x", b"1"), directory("y", [file("z", b"2")]))
    first = back_up(repository, tree)
    tree.root.below = [directory("x", [file("z", b"3")]), file("y", b"4")]
    second = back_up(repository, tree, first)
    assert {name: node.type for name, node in second.nodes().items()} == {"x": "dir", "y": "file"}
    assert second.content(second.nodes("x")["z"]) == b"3"
    assert second.content(second.nodes()["y"]) == b"4"


def test_content_of_which_a_blob_is_lost_is_read_again(repository: Repository) -> None:
    tree = FakeTree(file("lost", b"to be lost"), file("kept", b"kept"))
    first = back_up(repository, tree)
    (node,) = [node for node in first.nodes().values() if node.name == "lost"]
    backend = MemoryBackend()
    fresh = small_repository(backend)
    with fresh.load_index().writer() as writer:  # all but the one blob
        writer.save(BlobType.DATA, b"kept")
        assert first.result.node.subtree is not None
        writer.save(BlobType.TREE, first.store.load(BlobType.TREE, first.result.node.subtree))
    tree.read.clear()
    second = back_up(fresh, tree, first)
    assert tree.read == ["lost"]
    assert second.nodes()["lost"].content == node.content
    assert second.content(second.nodes()["lost"]) == b"to be lost"
    assert second.result.stats.files_unmodified == 1


def test_a_lost_tree_of_the_parent_is_not_taken_over_for_an_empty_folder(repository: Repository) -> None:
    tree = FakeTree(directory("empty"))
    first = back_up(repository, tree)
    fresh = small_repository(MemoryBackend())
    with fresh.load_index().writer() as writer:
        assert first.result.node.subtree is not None
        writer.save(BlobType.TREE, first.store.load(BlobType.TREE, first.result.node.subtree))
    second = back_up(fresh, tree, first)
    assert second.nodes("empty") == {}


def test_the_tree_of_a_file_that_failed_is_not_the_parents(repository: Repository) -> None:
    tree = FakeTree(file("a", b"1"))
    first = back_up(repository, tree)
    tree.root.below = [file("b", b"2", broken="open")]
    second = back_up(repository, tree, first)
    assert second.nodes() == {}
    assert second.result.problems == (Problem("/b", "broken: open"),)


@pytest.mark.parametrize("size", [5, 200_000, 9 * MIB], ids=["small", "medium", "large"])
@pytest.mark.parametrize("broken", ["open", "read"])
def test_a_file_that_cannot_be_read_is_told_and_left_out(repository: Repository, size: int, broken: str) -> None:
    tree = FakeTree(directory("a", [file("bad", bytes(size), broken=broken), file("good", b"x")]))
    stored = back_up(repository, tree)
    assert list(stored.nodes("a")) == ["good"]
    assert stored.result.problems == (Problem("/a/bad", f"broken: {broken}"),)
    assert stored.result.problem_count == 1
    assert tree.open == 0


@pytest.mark.parametrize("broken", ["open", "list"])
def test_a_folder_that_cannot_be_read_is_told_and_left_out(repository: Repository, broken: str) -> None:
    tree = FakeTree(directory("bad", [file("x")], broken=broken), file("good"))
    stored = back_up(repository, tree)
    assert list(stored.nodes()) == ["good"]
    assert stored.result.problems == (Problem("/bad", f"broken: {broken}"),)
    assert tree.open == 0


def test_attributes_that_cannot_be_read_cost_only_themselves(repository: Repository) -> None:
    tree = FakeTree(file("file", b"x", broken="attributes"), directory("folder", broken="attributes"))
    stored = back_up(repository, tree)
    assert sorted(stored.nodes()) == ["file", "folder"]
    assert [problem.path for problem in stored.result.problems] == ["/file", "/folder"]


def test_names_and_numbers_that_cannot_be_are_told_and_left_out(repository: Repository) -> None:
    huge = file("huge", size=1 << 62)
    negative = file("negative")
    negative.entry = negative.entry._replace(uid=-1)
    folder = directory("folder")
    folder.entry = folder.entry._replace(gid=1 << 40)
    tree = FakeTree(file(".."), file("a/b"), huge, negative, folder, file("good", b"x"))
    tree.root.problems = (Problem("vanished", "could not be examined"),)
    stored = back_up(repository, tree)
    assert list(stored.nodes()) == ["good"]
    assert [problem.path for problem in stored.result.problems] == [
        "/..",
        "/a?b",
        "/folder",
        "/huge",
        "/negative",
        "/vanished",
    ]


def test_more_problems_than_can_be_told_are_counted(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_PROBLEMS", 3)
    stored = back_up(repository, FakeTree(*(file(f"{number}", broken="open") for number in range(9))))
    assert len(stored.result.problems) == 3
    assert stored.result.problem_count == 9


def test_folders_deeper_than_any_should_be_are_told(repository: Repository) -> None:
    bottom = directory("d", [file("unreached")])
    for _ in range(MAX_DEPTH):
        bottom = directory("d", [bottom])
    tree = FakeTree(bottom)
    (problem,) = back_up(repository, tree).result.problems
    assert problem.path == "/d" * (MAX_DEPTH + 1)
    assert tree.open == 0


def test_what_would_need_too_much_memory_is_told(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_HELD", 40 << 10)
    many = [file(f"{number}") for number in range(50)]
    stored = back_up(repository, FakeTree(directory("fits", many[:20]), directory("too many", many)))
    assert list(stored.nodes()) == ["fits"]
    assert [problem.path for problem in stored.result.problems] == ["/too many"]


@pytest.mark.parametrize("told", [0, 3, 100], ids=["none", "fewer", "more"])
@pytest.mark.parametrize("size", [10, 10 * MIB], ids=["small", "large"])
def test_a_file_is_stored_as_long_as_it_was_read_and_was_told_to_be(
    repository: Repository, size: int, told: int
) -> None:
    content = random.Random(2).randbytes(size)
    stored = back_up(repository, FakeTree(file("x", content, size=size * told // 10)))
    node = stored.nodes()["x"]
    assert stored.content(node) == content[: size * told // 10]
    assert node.size == len(stored.content(node))


def test_large_files_are_cut_at_fixed_offsets(repository: Repository, folder: Path, tree: HostTree) -> None:
    before = back_up(repository, tree).nodes()["large"].content
    with (folder / "large").open("r+b") as opened:
        opened.seek(3 * CHUNK_SIZE + 17)
        opened.write(b"changed")
    after = back_up(repository, tree).nodes()["large"].content
    changed = [
        place
        for place in range(0, len(before), ID_SIZE)
        if before[place : place + ID_SIZE] != after[place : place + ID_SIZE]
    ]
    assert len(before) == 10 * ID_SIZE
    assert changed == [3 * ID_SIZE]


def test_holes_are_stored_without_being_read(repository: Repository, folder: Path, tree: HostTree) -> None:
    for path in ("two", "large"):
        (folder / path).unlink()
    with (folder / "sparse").open("wb") as opened:
        opened.truncate(200 * MIB + 5)
        opened.seek(50 * MIB)
        opened.write(b"x" * MIB)
    stored = back_up(repository, tree)
    node = stored.nodes()["sparse"]
    assert stored.content(node) == (folder / "sparse").read_bytes()
    assert stored.result.stats.bytes_read < 2 * MIB
    assert len(node.content) // ID_SIZE < 50
    half = stored.store.size(BlobType.DATA, node.content[:ID_SIZE])
    assert half == 512 << 10  # the unit by which restic's `restore --sparse` finds out that there are holes


def test_a_special_file_is_not_opened(repository: Repository) -> None:
    def special(name: str, kind: int, rdev: int = 0) -> Planted:
        planted = file(name)
        planted.entry = planted.entry._replace(mode=kind | 0o600, rdev=rdev)
        return planted

    tree = FakeTree(
        special("block", stat.S_IFBLK, 2049),
        special("character", stat.S_IFCHR, 5),
        special("fifo", stat.S_IFIFO, 7),
        special("socket", stat.S_IFSOCK),
    )
    nodes = back_up(repository, tree).nodes()
    assert tree.read == []
    assert {name: (node.type, node.device) for name, node in nodes.items()} == {
        "block": ("dev", 2049),
        "character": ("chardev", 5),
        "fifo": ("fifo", 0),
        "socket": ("socket", 0),
    }


def test_a_backup_that_is_to_stop_leaves_nothing_open(repository: Repository) -> None:
    stop = Stop()
    stop.ask()
    tree = FakeTree(directory("a", [file("one", b"1")]))
    with pytest.raises(Interrupted), repository.load_index().writer() as writer:
        backup_files(tree, writer, slots=Slots(2, stop))
    assert tree.open == 0
