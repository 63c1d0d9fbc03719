"""What those who save blobs see: one writer each, however many share the packs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from icebrick.blockdev import Data
from icebrick.repository.ids import BlobType
from icebrick.repository.packwriter import PackWriter


@dataclass(slots=True)
class WriterStats:
    """What a writer added to the repository; bytes of plaintext, and as stored in packs."""

    data_blobs: int = 0
    tree_blobs: int = 0
    bytes_added: int = 0
    bytes_packed: int = 0


class BlobWriter:
    """One caller's share in a PackWriter, for one snapshot. Methods may be called from any thread.

    By the failure of another caller that stored a blob for both, this one fails too, and so does every later call.
    """

    def __init__(self, packs: PackWriter) -> None:
        self.stats = WriterStats()
        self._packs = packs
        self._epoch = packs.epoch
        self._lock = threading.Lock()  # guards stats

    def save(self, blob_type: BlobType, data: Data) -> bytes:
        """Store a blob unless it is there already; its id. Durable with the next commit."""
        blob_id, stored = self._packs.save(self._epoch, blob_type, data)
        if stored:
            with self._lock:
                self._count(blob_type, len(data), stored)
        return blob_id

    def holds(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is in the repository, or will be with the next commit."""
        return self._packs.holds(blob_type, blob_id)

    def commit(self) -> None:
        """On return, all that was saved here, and all that `holds` was true of, is durable and in the index."""
        self._packs.commit(self._epoch)

    def _count(self, blob_type: BlobType, size: int, stored: int) -> None:
        self.stats.bytes_added += size
        self.stats.bytes_packed += stored
        if blob_type is BlobType.DATA:
            self.stats.data_blobs += 1
        else:
            self.stats.tree_blobs += 1


@contextmanager
def open_writer(packs: PackWriter) -> Iterator[BlobWriter]:
    """Left normally, all that was saved in the block is committed; by an exception, nothing of it counts."""
    writer = BlobWriter(packs)
    yield writer
    writer.commit()
