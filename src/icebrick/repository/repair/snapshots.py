"""Snapshots of which something is lost get a successor with all that can still be read.

A directory that cannot be read becomes an empty one. A file that lacks blobs gets another name, with `.repaired` at its
end, so that nobody takes it for what it was; where the length of what is lost is known it is replaced by zeros, so
that all else stays in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from icebrick.blockdev import Data
from icebrick.errors import CorruptDataError, ShortReadError
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.check.report import DAMAGE
from icebrick.repository.ids import ID_SIZE, BlobType, digest
from icebrick.repository.index.load import MENDING
from icebrick.repository.index.sortedids import Array
from icebrick.repository.repair.index import plan_repair_index
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.tree import Node, decode_tree, encode_tree

TAG = "repaired"
SUFFIX = ".repaired"
MAX_GAP = 64 << 20
"""In bytes; no blob is longer, whatever a damaged or hostile tree says of a file's size."""

Save = Callable[[BlobType, Data], bytes]


@dataclass(frozen=True, slots=True)
class SnapshotRepair:
    """A damaged snapshot: what is lost of it, the tree of its successor, and that one's id when it is saved.

    Without a tree nothing of it can be read.
    """

    snapshot_id: str
    problems: tuple[str, ...]
    tree: bytes | None
    successor: str | None = None


def plan_repair_snapshots(
    repository: Repository, only: Collection[str] = (), progress: Progress = NO_PROGRESS
) -> tuple[SnapshotRepair, ...]:
    """Reads only: these snapshots (ids), or all. The damaged ones are told.

    Whether data is there is told by the index: CorruptDataError when that is not right itself.
    """
    if problems := plan_repair_index(repository, progress=progress).problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise CorruptDataError(f"the index is not right: {problems[0]}{more}", hint=MENDING)
    ids = sorted(only) or repository.snapshot_ids()
    store = repository.load_index(progress)
    mender = _Mender(store, lambda _, data: digest(data))
    found: list[SnapshotRepair] = []
    with progress.task("check snapshots", total=len(ids), unit="snapshots") as task:
        for snapshot_id in ids:
            repair = _look_at(repository, snapshot_id, mender)
            if repair.problems:
                found.append(repair)
            task.advance(1)
    return tuple(found)


def _look_at(repository: Repository, snapshot_id: str, mender: _Mender) -> SnapshotRepair:
    try:
        tree = repository.load_snapshot(snapshot_id).tree
    except (CorruptDataError, ShortReadError) as error:
        return SnapshotRepair(snapshot_id, (str(error),), None)
    mended = mender.tree(tree)
    return SnapshotRepair(snapshot_id, mended.problems, mended.id)


def execute_repair_snapshots(
    repository: Repository, plan: Collection[SnapshotRepair], *, forget: bool = False
) -> tuple[SnapshotRepair, ...]:
    """Save the successors, with the ids of those they stand for; with `forget` the damaged ones go, successor or not.

    A successor that is there already is not made again. Under the exclusive lock that the plan was made under.
    """
    there = {(each.original, each.tree): each.id for each in repository.snapshots() if TAG in each.tags}
    done: list[SnapshotRepair] = []
    store = repository.load_index()
    with store.writer() as writer:
        mender = _Mender(store, writer.save)
        trees = {repair.snapshot_id: mender.tree(_root(repository, repair)).id for repair in plan if repair.tree}
    for repair in plan:
        successor = None
        if (tree := trees.get(repair.snapshot_id)) is not None:
            old = repository.load_snapshot(repair.snapshot_id)
            original = old.original or repair.snapshot_id
            successor = there.get((original, tree)) or repository.save_snapshot(_successor(old, tree, original))
        if forget:
            repository.remove_snapshot(repair.snapshot_id)
        done.append(replace(repair, successor=successor))
    return tuple(done)


def _root(repository: Repository, repair: SnapshotRepair) -> bytes:
    return repository.load_snapshot(repair.snapshot_id).tree


def _successor(old: Snapshot, tree: bytes, original: str) -> Snapshot:
    tags = old.tags if TAG in old.tags else (*old.tags, TAG)
    return replace(old, tree=tree, tags=tags, original=original, summary=None, id=None)


@dataclass(frozen=True, slots=True)
class _Mended:
    """A tree: its id, or that of what replaces it (None: it cannot be read); what is wrong with it or below it."""

    id: bytes | None
    problems: tuple[str, ...] = ()


class _Mender:
    """Mends each tree once, however many snapshots share it."""

    def __init__(self, store: BlobStore, save: Save) -> None:
        self._store = store
        self._save = save
        self._mended: dict[bytes, _Mended] = {}

    def tree(self, root: bytes) -> _Mended:
        """This one and all below it, those first. Without recursion, as nobody knows how deep they lie."""
        open_trees = [(root, "")]
        while open_trees:
            tree_id, path = open_trees[-1]
            nodes = [] if tree_id in self._mended else self._nodes(tree_id, path)
            below = [
                (node.subtree, f"{path}/{node.name}")
                for node in nodes
                if node.subtree is not None and node.subtree not in self._mended
            ]
            open_trees += below
            if not below:
                if tree_id not in self._mended:
                    self._mended[tree_id] = self._mend(tree_id, nodes, path)
                open_trees.pop()
        return self._mended[root]

    def _nodes(self, tree_id: bytes, path: str) -> list[Node]:
        """None of a tree that cannot be read; it is noted."""
        try:
            return decode_tree(self._store.load(BlobType.TREE, tree_id))
        except DAMAGE as error:
            self._mended[tree_id] = _Mended(None, (f"{path or '/'}: directory cannot be read: {error}",))
            return []

    def _mend(self, tree_id: bytes, nodes: list[Node], path: str) -> _Mended:
        problems: list[str] = []
        names = {node.name for node in nodes}
        new = [self._node(node, f"{path}/{node.name}", names, problems) for node in nodes]
        if not problems:
            return _Mended(tree_id)
        return _Mended(self._save(BlobType.TREE, encode_tree(new)), tuple(problems))

    def _node(self, node: Node, path: str, names: set[str], problems: list[str]) -> Node:
        if node.type == "dir":
            return self._directory(node, path, problems)
        if node.type != "file" or self._store.has_all(BlobType.DATA, node.content):
            return node
        name = node.name + SUFFIX
        while name in names:
            name += SUFFIX
        names.add(name)
        mended, said = self._file(node)
        problems.append(f"{path}: {said}")
        return replace(mended, name=name)

    def _directory(self, node: Node, path: str, problems: list[str]) -> Node:
        if node.subtree is None:
            below = _Mended(None, (f"{path}: directory without a tree",))
        else:
            below = self._mended[node.subtree]
        problems += below.problems
        if not below.problems:
            return node
        return replace(node, subtree=below.id or self._save(BlobType.TREE, encode_tree([])))

    def _file(self, node: Node) -> tuple[Node, str]:
        """With zeros for what is lost, or without it where it is not known how long that was."""
        ids = [node.content[start : start + ID_SIZE] for start in range(0, len(node.content), ID_SIZE)]
        there = np.array([self._store.has(BlobType.DATA, blob_id) for blob_id in ids])
        present = b"".join(blob_id for blob_id, has in zip(ids, there, strict=True) if has)
        sizes = self._store.places(present).sizes
        gaps = _gap_sizes(node.size, there, sizes)
        said = f"{len(ids) - len(sizes)} of {len(ids)} blobs are lost"
        if gaps is None:
            return replace(node, content=present, size=int(sizes.sum())), f"{said}; what is behind them has moved"
        lengths = iter(gaps)
        content = b"".join(
            blob_id if has else self._save(BlobType.DATA, bytes(next(lengths)))
            for blob_id, has in zip(ids, there, strict=True)
        )
        return replace(node, content=content), f"{said}, {sum(gaps)} bytes are now zeros"


def _gap_sizes(size: int, there: Array, sizes: Array) -> list[int] | None:
    """How long each lost blob was, if that can be told: one alone, or all but the last as long as most others are."""
    count = int(np.count_nonzero(~there))
    lost = size - int(sizes.sum())
    if not 0 < lost <= count * MAX_GAP:
        return None
    if count == 1:
        return [lost]
    if not len(sizes):
        return None
    values, counts = np.unique(sizes, return_counts=True)
    usual = int(values[np.argmax(counts)])
    if lost == count * usual:
        return [usual] * count
    last = lost - (count - 1) * usual
    return [usual] * (count - 1) + [last] if not there[-1] and 0 < last < usual else None
