"""Saves blobs: packs first, then the index. The caller's snapshot comes after both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.blockdev import Data
from icebrick.parallel import Pool, Workers
from icebrick.repository.blob import PackedBlob
from icebrick.repository.crypto import Key
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.indexfile import encode_index
from icebrick.repository.packer import FinishedPack, PackBuffers, Packer
from icebrick.repository.unpacked import save_unpacked

INDEX_BLOBS = 16384
"""An index file is written when this many blobs wait for it: what a run that dies has stored is found by the next."""
MAX_UPLOADS = 2


@dataclass(slots=True)
class WriterStats:
    """What a writer added to the repository; bytes of plaintext, and of packs as stored."""

    data_blobs: int = 0
    tree_blobs: int = 0
    bytes_added: int = 0
    bytes_packed: int = 0
    packs: int = 0


Known = Callable[[BlobType, bytes], bool]
AddPack = Callable[[bytes, list[PackedBlob]], None]


class BlobWriter:
    """Made by `BlobStore.writer`. `save` may be called from any thread."""

    def __init__(self, backend: Backend, key: Key, known: Known, add_pack: AddPack) -> None:
        self.stats = WriterStats()
        self._backend, self._key = backend, key
        self._known, self._add_pack = known, add_pack
        self._buffers = PackBuffers()
        self._packers = {
            blob_type: Pool(lambda blob_type=blob_type: Packer(key, blob_type, self._buffers))  # type: ignore[misc]
            for blob_type in BlobType
        }
        self._lock = threading.Lock()  # guards stats, _underway and _unindexed
        self._underway: set[tuple[BlobType, bytes]] = set()
        self._unindexed: list[tuple[bytes, list[PackedBlob]]] = []
        self._failure: BaseException | None = None
        uploads = max(1, min(MAX_UPLOADS, backend.connections))
        self._uploads: Workers[FinishedPack] = Workers(self._upload, threads=uploads, depth=1, name="upload")

    def save(self, blob_type: BlobType, data: Data) -> bytes:
        """Store a blob unless it is there already; its id. Durable when the writer's block has ended normally."""
        blob_id = digest(data)
        with self._lock:
            if self._holds(blob_type, blob_id):
                return blob_id
            self._underway.add((blob_type, blob_id))
        try:
            with self._packers[blob_type].borrow() as packer:
                pack = packer.add(blob_id, data)
        except BaseException as error:
            self._failure = error
            raise
        with self._lock:
            self._count(blob_type, len(data))
        if pack is not None:
            self._uploads.put(pack)
        return blob_id

    def holds(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is in the repository, or will be when the writer's block has ended normally."""
        with self._lock:
            return self._holds(blob_type, blob_id)

    def _holds(self, blob_type: BlobType, blob_id: bytes) -> bool:
        return (blob_type, blob_id) in self._underway or self._known(blob_type, blob_id)

    def _count(self, blob_type: BlobType, size: int) -> None:
        self.stats.bytes_added += size
        if blob_type is BlobType.DATA:
            self.stats.data_blobs += 1
        else:
            self.stats.tree_blobs += 1

    @contextmanager
    def open(self) -> Iterator[BlobWriter]:
        """See `BlobStore.writer`."""
        with self._uploads:
            yield self
            if self._failure is not None:  # even if the caller went on: others may count on what was lost with it
                raise self._failure
            for packers in self._packers.values():
                for packer in packers.drain():
                    if (pack := packer.finish()) is not None:
                        self._uploads.put(pack)
        self._save_index()

    def _upload(self, pack: FinishedPack) -> None:
        with pack.view() as view:
            self._backend.save(Handle(FileType.PACK, pack.id.hex()), view)
        self._buffers.give_back(pack.buffer)
        with self._lock:
            self.stats.packs += 1
            self.stats.bytes_packed += pack.size
            self._unindexed.append((pack.id, list(pack.blobs)))
            full = sum(len(blobs) for _, blobs in self._unindexed) >= INDEX_BLOBS
        if full:
            self._save_index()

    def _save_index(self) -> None:
        with self._lock:
            packs, self._unindexed = self._unindexed, []
        if packs:
            save_unpacked(self._backend, self._key, FileType.INDEX, encode_index(packs))
        # Only now: what this writer dies with before is in no index file, so no other snapshot may build on it.
        for pack_id, blobs in packs:
            self._add_pack(pack_id, blobs)
            with self._lock:
                self._underway.difference_update((blob.type, blob.id) for blob in blobs)
