"""What is found by path, and read, without any mount."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import CorruptDataError
from icebrick.mount.operations import Operations
from icebrick.mount.view import REFRESH_SECONDS, View
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import MODE_DIR, Node, encode_tree
from icebrick.testing.images import small_repository
from icebrick.testing.repositories import Tree, add_tree

CONTENT = bytes(range(256)) * 100  # in four blobs
TREE: Tree = {"files": {"etc": {"fstab": CONTENT, "link": "fstab"}}, os.fsdecode(b"not \xff utf-8"): b"x", "none": b""}
ROOT = "/snapshots/1970-01-01T00:00:00Z"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def repository(backend: MemoryBackend) -> Repository:
    repository = small_repository(backend)
    add_tree(repository, TREE, paths=("/cinder/v1",))
    return repository


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(repository: Repository, clock: Clock) -> View:
    return View(repository, clock=clock)


def names(view: View, path: str) -> list[str]:
    return [entry.node.name for entry in view.list(path)]


def test_the_root_has_a_directory_for_each_way_to_find_a_snapshot(view: View) -> None:
    assert names(view, "/") == ["ids", "images", "names", "snapshots", "volumes"]


def test_a_snapshot_has_what_its_tree_has(view: View) -> None:
    assert names(view, ROOT) == ["files", "none", os.fsdecode(b"not \xff utf-8")]
    assert view.find(f"{ROOT}/files/etc/link").node.linktarget == "fstab"


@pytest.mark.parametrize("path", ["/nothing", f"{ROOT}/nothing", "/volumes/v2", f"{ROOT}/files/etc/nothing"])
def test_what_is_not_there_is_not_found(view: View, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        view.find(path)


@pytest.mark.parametrize("path", [f"{ROOT}/none/below", "/snapshots/latest/below"])
def test_nothing_is_below_what_is_no_directory(view: View, path: str) -> None:
    with pytest.raises(NotADirectoryError):
        view.find(path)


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (7_999, 2), (8_000, 8_000), (100, 25_000), (25_599, 50)])
def test_any_range_of_a_file_is_read(view: View, offset: int, length: int) -> None:
    file = view.open(f"{ROOT}/files/etc/fstab")
    assert file.read(offset, length) == CONTENT[offset : offset + length]


def test_nothing_is_read_behind_the_end(view: View) -> None:
    assert view.open(f"{ROOT}/files/etc/fstab").read(len(CONTENT), 10) == b""
    assert view.open(f"{ROOT}/none").read(0, 10) == b""


@pytest.mark.parametrize(("path", "code"), [("/ids", errno.EISDIR), (f"{ROOT}/files/etc/link", errno.EINVAL)])
def test_only_files_are_opened(view: View, path: str, code: int) -> None:
    with pytest.raises(OSError) as caught:
        view.open(path)
    assert caught.value.errno == code


def test_names_of_one_file_have_one_inode(repository: Repository, clock: Clock) -> None:
    with repository.load_index().writer() as writer:
        nodes = [Node(name, links=2, inode=7, device_id=1) for name in ("one", "another")]
        below = writer.save(BlobType.TREE, encode_tree(nodes))
        tree = writer.save(BlobType.TREE, encode_tree([Node("d", type="dir", mode=MODE_DIR, subtree=below)]))
    snapshot_id = repository.save_snapshot(Snapshot(Timestamp(0), tree, ("/x",), "host"))
    view = View(repository, clock=clock)
    one, another = view.list(f"/ids/{snapshot_id[:8]}/d")
    assert one.inode == another.inode == view.find(f"/ids/{snapshot_id[:8]}/d/one").inode


def test_a_listing_tells_the_inodes_that_looking_closer_tells(view: View) -> None:
    for path in ("/", "/snapshots", ROOT, f"{ROOT}/files/etc"):
        for entry in view.list(path):
            assert view.find(f"{path}/{entry.node.name}").inode == entry.inode


def test_a_new_snapshot_appears_after_a_while(view: View, repository: Repository, clock: Clock) -> None:
    add_tree(repository, {"new": b"new content"}, 3600)
    assert len(names(view, "/ids")) == 1
    clock.now += REFRESH_SECONDS
    assert len(names(view, "/ids")) == 2
    assert view.open("/snapshots/1970-01-01T01:00:00Z/new").read(0, 100) == b"new content"


def test_a_new_snapshot_is_found_by_its_name_at_once_after_a_while(
    view: View, repository: Repository, clock: Clock
) -> None:
    add_tree(repository, {"new": b"new content"}, 3600)
    clock.now += REFRESH_SECONDS
    assert names(view, "/snapshots/1970-01-01T01:00:00Z") == ["new"]


def test_a_snapshot_that_was_forgotten_goes(view: View, repository: Repository, clock: Clock) -> None:
    for snapshot_id in repository.snapshot_ids():
        repository.remove_snapshot(snapshot_id)
    clock.now += REFRESH_SECONDS
    assert names(view, "/ids") == []


def test_the_index_is_read_anew_only_for_what_it_does_not_know(
    repository: Repository, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load_index = repository.load_index

    def counted() -> object:
        loads.append("x")
        return load_index()

    monkeypatch.setattr(repository, "load_index", counted)
    view = View(repository, clock=clock)
    add_tree(repository, {"files": TREE["files"]}, 3600)
    loads.clear()
    clock.now += REFRESH_SECONDS
    names(view, "/ids")
    view.open(f"{ROOT}/files/etc/fstab").read(0, 10)
    assert not loads
    names(view, "/snapshots/1970-01-01T01:00:00Z")
    names(view, "/snapshots/1970-01-01T01:00:00Z/files")
    assert len(loads) == 1


def test_reading_ahead_loads_the_next_piece(view: View, no_thread_outlives_its_test: None) -> None:
    path = f"{ROOT}/files/etc/fstab"
    content = view.find(path).node.content
    with view.blobs.reading_ahead():
        view.open(path).read(0, 100)
    view.blobs.soon(content[-32:])  # of no effect: nobody reads ahead any more
    assert view.blobs.data(content[32:64]) == CONTENT[8000:16000]


@pytest.fixture
def damaged(repository: Repository, backend: MemoryBackend) -> Iterator[View]:
    """Of a repository that has lost all its data, but no trees."""
    view = View(repository)
    for path in (ROOT, f"{ROOT}/files", f"{ROOT}/files/etc"):
        list(view.list(path))
    for info in list(backend.list_files(FileType.PACK)):
        backend.remove(Handle(FileType.PACK, info.handle.name))
    yield view


@pytest.mark.damages_repository("removes its packs")
def test_damaged_data_is_an_error_and_never_wrong(damaged: View) -> None:
    file = damaged.open(f"{ROOT}/files/etc/fstab")
    with pytest.raises(CorruptDataError):
        file.read(0, 10)


@pytest.mark.damages_repository("removes its packs")
def test_the_kernel_is_told_of_an_input_output_error(damaged: View, caplog: pytest.LogCaptureFixture) -> None:
    operations = Operations(damaged, ready=lambda: None, leave=lambda: None)
    path = f"{ROOT}/files/etc/fstab"
    with pytest.raises(OSError) as caught:
        operations.read(path, 10, 0, operations.open(path, os.O_RDONLY))
    assert caught.value.errno == errno.EIO
    assert "fstab" in caplog.text


def test_a_file_whose_size_is_not_that_of_its_data_is_not_opened(repository: Repository) -> None:
    with repository.load_index().writer() as writer:
        content = writer.save(BlobType.DATA, b"four")
        tree = writer.save(BlobType.TREE, encode_tree([Node("wrong", size=5, content=content)]))
    snapshot_id = repository.save_snapshot(Snapshot(Timestamp(0), tree, ("/x",), "host"))
    with pytest.raises(CorruptDataError, match="5 bytes has blobs of 4 bytes"):
        View(repository).open(f"/ids/{snapshot_id[:8]}/wrong")
