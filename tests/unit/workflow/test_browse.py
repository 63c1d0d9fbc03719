"""Searching trees."""

from __future__ import annotations

from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file.select import select
from icebrick.repository.treecache import TreeCache
from icebrick.testing.images import small_repository
from icebrick.testing.repositories import Tree, add_tree
from icebrick.workflow.browse import Search, search_snapshot

LARGE: Tree = {str(number): {"file": b"x", "number": str(number)} for number in range(20)}


class CountingTrees(TreeCache):
    """Counts what is asked of it."""

    loads = 0

    def load(self, tree: bytes) -> bytes:
        self.loads += 1
        return super().load(tree)


def search(*roots: Tree, pattern: str) -> list[tuple[list[str], int]]:
    """In a snapshot of each: the paths, and how many trees were looked at."""
    repository = small_repository(MemoryBackend())
    snapshots = [repository.load_snapshot(add_tree(repository, root)) for root in roots]
    trees = CountingTrees(repository.load_index())
    searching = Search(trees, select([pattern]))
    told = []
    for snapshot in snapshots:
        trees.loads = 0
        told.append(([found.shown for found in search_snapshot(searching, snapshot)], trees.loads))
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
