"""Which blobs the snapshots need: every tree is read once, and what it names is marked in the index.

Memory: a byte for each entry of the index, and the ids of the trees of one level of directories.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from icebrick.blockdev import Data
from icebrick.errors import CorruptDataError
from icebrick.parallel import Workers
from icebrick.progress import Progress
from icebrick.repository.blob import PackedBlob
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.index.index import Entries, Index
from icebrick.repository.index.sortedids import Array
from icebrick.repository.tree import tree_references

LARGE = 4 << 20
"""Trees from this many stored bytes on, as of large images, are loaded one at a time: each takes ten times as much."""
_AT_ONCE = (1 << 16) * ID_SIZE
_MISSING_HINT = (
    "Nothing was removed. 'icebrick repair index' may find it; what is lost, 'icebrick repair snapshots' takes out."
)


@dataclass(frozen=True, slots=True)
class MarkedEntries:
    """The entries of one type, and which of them are of needed blobs: all copies of each."""

    type: BlobType
    entries: Entries
    used: Array

    def mark_all(self, ids: bytes) -> None:
        """The same for many, in little memory."""
        for start in range(0, len(ids), _AT_ONCE):
            self.mark(ids[start : start + _AT_ONCE])

    def mark(self, ids: bytes) -> Array:
        """Mark the first copy of each of these (packed); their positions. CorruptDataError when one is missing."""
        positions = self.entries.ids.positions(ids)
        missing = positions < 0
        if missing.any():
            first = int(np.argmax(missing)) * ID_SIZE
            raise CorruptDataError(
                f"{int(missing.sum())} {self.type.value} blobs that snapshots need are in no index, the first is "
                f"{ids[first : first + ID_SIZE].hex()}",
                hint=_MISSING_HINT,
            )
        self.used[positions] = True
        return positions

    def has_copies(self) -> Array:
        """Of each entry, whether there is another of its blob."""
        copied = ~self.entries.first
        copied[:-1] |= ~self.entries.first[1:]
        return copied

    def mark_copies(self) -> None:
        """Mark the other copies of what is marked."""
        copies = np.flatnonzero(~self.entries.first)
        while len(copies):
            copies = copies[self.used[copies - 1] & ~self.used[copies]]
            self.used[copies] = True
            copies = copies + 1  # may be a third one
            copies = copies[copies < len(self.entries)]
            copies = copies[~self.entries.first[copies]]


def mark_used(store: BlobStore, index: Index, roots: bytes, progress: Progress) -> tuple[MarkedEntries, MarkedEntries]:
    """Data and trees, marked from these trees (packed ids) down; CorruptDataError when one cannot be read."""
    turn = threading.Lock()  # to load large trees
    data, trees = (_unmarked(index, blob_type) for blob_type in (BlobType.DATA, BlobType.TREE))
    with progress.task("find used data", unit="trees") as task:
        level = roots
        while level:
            before = trees.used.copy()
            positions = np.unique(trees.mark(level))
            new = positions[~before[positions]]
            below = bytearray()
            lock = threading.Lock()  # guards below; marks are set once and read later, in any order

            def visit(
                pack: tuple[int, list[PackedBlob]], below: bytearray = below, lock: threading.Lock = lock
            ) -> None:
                def use(number: int, plain: Data, blobs: list[PackedBlob] = pack[1]) -> None:
                    contents, subtrees = _references(blobs[number], plain)
                    data.mark_all(contents)
                    with lock:
                        below.extend(subtrees)
                    task.advance(1)

                with turn if any(blob.length > LARGE for blob in pack[1]) else nullcontext():
                    store.load_many(pack[0], pack[1], use)

            with Workers(visit, threads=store.connections, name="trees") as workers:
                for pack in by_pack(trees.entries, new, BlobType.TREE):
                    workers.put(pack)
            level = bytes(below)
    data.mark_copies()
    trees.mark_copies()
    return data, trees


def by_pack(entries: Entries, positions: Array, blob_type: BlobType) -> Iterator[tuple[int, list[PackedBlob]]]:
    """These entries, pack by pack (its number), in the order in which they lie there."""
    records = entries.records[positions]
    positions = positions[np.lexsort((records["offset"], records["pack"]))]
    packs = entries.records["pack"][positions].astype(np.int64)
    starts = np.flatnonzero(np.diff(packs, prepend=-1))
    for start, end in itertools.pairwise([*starts, len(positions)]):
        yield int(packs[start]), [entries.blob(int(place), blob_type) for place in positions[start:end]]


def _unmarked(index: Index, blob_type: BlobType) -> MarkedEntries:
    entries = index.entries(blob_type)
    return MarkedEntries(blob_type, entries, np.zeros(len(entries), dtype=bool))


def _references(tree: PackedBlob, plain: Data) -> tuple[bytes, bytes]:
    try:
        return tree_references(bytes(plain))
    except CorruptDataError as error:
        raise CorruptDataError(f"tree {tree.id.hex()} cannot be read: {error}", hint=_MISSING_HINT) from error
