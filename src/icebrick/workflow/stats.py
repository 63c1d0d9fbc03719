"""How much snapshots hold, counted in restic's ways."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.index.index import Places
from icebrick.repository.index.load import load_index
from icebrick.repository.index.sortedids import Array
from icebrick.repository.prune.marks import MarkedEntries, mark_used
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.tree import Node, decode_tree
from icebrick.repository.treecache import TreeCache


class StatsMode(Enum):
    """What is counted; called as restic's option."""

    RESTORE_SIZE = "restore-size"
    """What a restore of each snapshot would take; a file with several names once."""
    FILES_BY_CONTENTS = "files-by-contents"
    """Files of equal content once, in whichever snapshots they are. All that has no content is one of them."""
    RAW_DATA = "raw-data"
    """The blobs, as they are stored."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Sizes in bytes. `blobs` and `uncompressed_size` (of their plaintexts) are of raw data alone."""

    snapshots: int
    size: int
    files: int = 0
    blobs: int = 0
    uncompressed_size: int = 0


@dataclass(frozen=True, slots=True)
class Blobs:
    """A number of blobs; sizes in bytes, of all together."""

    count: int
    stored_size: int
    size: int


def count_stats(
    repository: Repository, snapshots: Iterable[Snapshot], mode: StatsMode, progress: Progress = NO_PROGRESS
) -> Stats:
    """Under the caller's lock, under which the snapshots were listed. CorruptDataError."""
    chosen = list(snapshots)
    index = load_index(repository.backend, repository.key, progress).index
    store = BlobStore(repository.backend, repository.key, index)
    if mode is StatsMode.RAW_DATA:
        roots = b"".join({snapshot.tree for snapshot in chosen})
        data, trees = (count_blobs(marked, marked.used) for marked in mark_used(store, index, roots, progress))
        return Stats(
            len(chosen),
            data.stored_size + trees.stored_size,
            blobs=data.count + trees.count,
            uncompressed_size=data.size + trees.size,
        )
    walk = _Walk(TreeCache(store), progress)
    if mode is StatsMode.FILES_BY_CONTENTS:
        sizes = walk.sizes_by_contents({snapshot.tree for snapshot in chosen})
        return Stats(len(chosen), sum(sizes.values()), files=len(sizes))
    counts = [walk.restore_size(snapshot.tree) for snapshot in chosen]
    return Stats(len(chosen), sum(size for _, size in counts), files=sum(files for files, _ in counts))


def count_blobs(marked: MarkedEntries, mask: Array) -> Blobs:
    """Those of the mask, each once however many copies there are."""
    places = Places(marked.entries.records[np.asarray(mask & marked.entries.first)])
    return Blobs(len(places.records), int(places.records["length"].sum(dtype=np.int64)), int(places.sizes.sum()))


@dataclass(frozen=True, slots=True)
class _Directory:
    """What lies right in one; `linked` are files with several names, by device and inode."""

    entries: int
    size: int
    linked: tuple[tuple[int, int, int], ...]
    below: tuple[bytes, ...]


class _Walk:
    """Through trees, each of which is read once, however many snapshots have it."""

    def __init__(self, trees: TreeCache, progress: Progress) -> None:
        self._trees = trees
        self._progress = progress
        self._directories: dict[bytes, _Directory] = {}

    def restore_size(self, root: bytes) -> tuple[int, int]:
        """How many entries, and the bytes of their content."""
        entries = size = 0
        linked: dict[tuple[int, int], int] = {}
        pending = [root]
        with self._progress.task("read trees", unit="trees") as task:
            while pending:
                directory = self._directory(pending.pop())
                task.advance(1)
                pending += directory.below
                entries += directory.entries
                size += directory.size
                linked |= {(device, inode): length for device, inode, length in directory.linked}
        return entries, size + sum(linked.values())

    def sizes_by_contents(self, roots: set[bytes]) -> dict[bytes, int]:
        """Of each different content."""
        sizes: dict[bytes, int] = {}
        seen = set(roots)
        pending = list(roots)
        with self._progress.task("read trees", unit="trees") as task:
            while pending:
                nodes = decode_tree(self._trees.load(pending.pop()))
                task.advance(1)
                for node in nodes:
                    sizes.setdefault(hashlib.sha256(node.content).digest(), node.size)
                below = {node.subtree for node in nodes if node.subtree} - seen
                seen |= below
                pending += below
        return sizes

    def _directory(self, tree: bytes) -> _Directory:
        found = self._directories.get(tree)
        if found is None:
            nodes = decode_tree(self._trees.load(tree))
            linked = tuple((node.device_id, node.inode, node.size) for node in nodes if _is_linked(node))
            size = sum(node.size for node in nodes) - sum(length for _, _, length in linked)
            found = _Directory(len(nodes), size, linked, tuple(_below(nodes)))
            self._directories[tree] = found
        return found


def _is_linked(node: Node) -> bool:
    return node.type != "dir" and node.links > 1 and node.inode > 0


def _below(nodes: Iterable[Node]) -> Iterator[bytes]:
    return (node.subtree for node in nodes if node.subtree is not None)
