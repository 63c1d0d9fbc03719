"""Everything that a snapshot needs, from one repository into another: only what is not there yet, every blob proven."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from icebrick.blockdev import Data
from icebrick.parallel import Workers, default_threads
from icebrick.progress import Task
from icebrick.repository.blob import PackedBlob
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.tree import tree_references
from icebrick.repository.treecache import TreeCache

BATCH = 1 << 14
"""So many blobs of data are looked up, and then loaded pack by pack, at once: memory is for their ids alone."""


class TreeCopy:
    """Copies trees with all that is below them. Each is looked through once, however many snapshots share it.

    Trees that are in the target are looked through, too: what is below may have been pruned there.
    """

    def __init__(self, source: BlobStore, task: Task) -> None:
        self._source = source
        self._trees = TreeCache(source)
        self._task = task
        self._total = 0
        self._complete: set[bytes] = set()

    def copy(self, root: bytes, writer: BlobWriter) -> None:
        """On return, all is saved with `writer`. CorruptDataError when the source is damaged, or lacks something."""
        seen: set[bytes] = set()
        ids = bytearray()
        for content in self._contents(root, seen, writer):
            for start in range(0, len(content), BATCH * ID_SIZE):
                ids += content[start : start + BATCH * ID_SIZE]
                if len(ids) >= BATCH * ID_SIZE:
                    self._copy_data(bytes(ids), writer)
                    ids.clear()
        self._copy_data(bytes(ids), writer)
        self._complete |= seen  # only now: of a tree that failed, not all may have been copied

    def _contents(self, root: bytes, seen: set[bytes], writer: BlobWriter) -> Iterator[bytes]:
        """The data of the files of every tree below, as ids; every tree is copied on the way."""
        waiting = [root]
        while waiting:
            tree = waiting.pop()
            if tree in seen or tree in self._complete:
                continue
            seen.add(tree)
            plain = self._trees.load(tree)
            if not writer.holds(BlobType.TREE, tree):
                writer.save(BlobType.TREE, plain)
            content, below = tree_references(plain)
            waiting += reversed(_split(below))
            yield content

    def _copy_data(self, ids: bytes, writer: BlobWriter) -> None:
        missing = [blob_id for blob_id in dict.fromkeys(_split(ids)) if not writer.holds(BlobType.DATA, blob_id)]
        if not missing:
            return

        def copy(group: tuple[int, list[PackedBlob]]) -> None:
            self._source.load_many(*group, lambda _, data: self._save(writer, data))

        groups = self._by_pack(missing)
        threads = max(default_threads(), min(4, self._source.connections))
        with Workers(copy, threads=threads, name="copy") as workers:
            for group in groups:
                workers.put(group)

    def _save(self, writer: BlobWriter, data: Data) -> None:
        writer.save(BlobType.DATA, data)
        self._task.advance(len(data))

    def _by_pack(self, ids: list[bytes]) -> list[tuple[int, list[PackedBlob]]]:
        """The number of each pack in the source, and the blobs that are wanted of it, in the order they lie there."""
        places = self._source.places(b"".join(ids))
        self._total += int(places.sizes.sum())
        self._task.set_total(self._total)
        order = np.lexsort((places.offsets, places.packs)).tolist()
        packs = places.packs.tolist()
        return [
            (pack, [places.blob(number, ids[number]) for number in numbers])
            for pack, numbers in itertools.groupby(order, key=lambda number: int(packs[number]))
        ]


def _split(ids: bytes) -> list[bytes]:
    return [ids[start : start + ID_SIZE] for start in range(0, len(ids), ID_SIZE)]
