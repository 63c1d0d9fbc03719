"""Searching trees."""

from __future__ import annotations

from icebrick.backend.base import BackendWrapper, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file.select import select
from icebrick.testing.images import small_repository
from icebrick.testing.repositories import Tree, add_tree
from icebrick.workflow.browse import Search, search_snapshot

LARGE: Tree = {str(number): {"file": b"x", "number": str(number)} for number in range(20)}


class CountingBackend(BackendWrapper):
    """Counts what is loaded of packs: trees one by one."""

    loads = 0

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        self.loads += handle.type is FileType.PACK
        return super().load(handle, offset=offset, length=length)


def search(*trees: Tree, pattern: str) -> list[tuple[list[str], int]]:
    """In a snapshot of each: the paths, and how many trees were loaded."""
    backend = CountingBackend(MemoryBackend())
    repository = small_repository(backend)
    snapshots = [repository.load_snapshot(add_tree(repository, tree)) for tree in trees]
    searching = Search(repository.load_index(), select([pattern]))
    told = []
    for snapshot in snapshots:
        backend.loads = 0
        told.append(([found.shown for found in search_snapshot(searching, snapshot)], backend.loads))
    return told


def test_what_holds_nothing_is_not_read_again_in_the_same_place() -> None:
    first, second = search(
        {"usr": LARGE, "etc": {"fstab": b"1"}}, {"usr": LARGE, "etc": {"fstab": b"2"}}, pattern="fs*"
    )
    assert first == (["/etc/fstab"], 23)
    assert second == (["/etc/fstab"], 2)


def test_what_holds_something_is_read_again() -> None:
    first, second = search({"usr": LARGE}, {"usr": LARGE, "etc": {}}, pattern="/usr/7/file")
    assert first == (["/usr/7/file"], 22)
    assert second == (["/usr/7/file"], 4)  # the root, usr, 7 and etc


def test_the_same_directory_in_another_place_is_searched() -> None:
    first, second = search({"usr": LARGE}, {"opt": LARGE}, pattern="/opt/7/file")
    assert (first[0], second[0]) == ([], ["/opt/7/file"])
