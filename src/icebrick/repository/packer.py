"""Builds packs in place: blobs are compressed and sealed straight into a reused, pack-sized buffer."""

from __future__ import annotations

import hashlib
import mmap
import queue
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from icebrick.blockdev import Data
from icebrick.repository.blob import BlobDecoder, PackedBlob
from icebrick.repository.crypto import OVERHEAD, Key, Sealer
from icebrick.repository.ids import BlobType
from icebrick.repository.pack import encode_trailer, header_size, verify_pack

PACK_SIZE = 16 << 20
"""A pack is closed when it reaches this; restic's default."""
MAX_BLOBS = 4096
_SLACK = 1 << 20

# Level 1 with larger tables: a few percent smaller for hardly more time, see docs/design/decisions/0004-compression.md
COMPRESSION = zstandard.ZstdCompressionParameters.from_level(1, window_log=20, hash_log=15, write_checksum=False)
MIN_GAIN = 0.97
"""Compressed data is kept only when it is smaller than this share of the plaintext."""


@dataclass(frozen=True, slots=True)
class FinishedPack:
    """A verified pack, ready to be stored. Its memory goes back to the buffers when it is stored."""

    id: bytes
    blobs: Sequence[PackedBlob]
    size: int
    buffer: mmap.mmap

    @property
    def has_trees(self) -> bool:
        """Or else data: no pack that is made here has both."""
        return self.blobs[0].type is BlobType.TREE

    def view(self) -> memoryview:
        """The pack's bytes; release it before the buffer is given back."""
        return memoryview(self.buffer)[: self.size]


class PackBuffers:
    """Pack-sized memory, reused: allocating it anew costs more than encrypting it."""

    def __init__(self, size: int = PACK_SIZE + header_size(MAX_BLOBS) + _SLACK) -> None:
        self._size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._free: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()

    def take(self, needed: int) -> mmap.mmap:
        """A buffer of at least `needed` bytes."""
        if needed > self._size:
            return mmap.mmap(-1, needed)
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return mmap.mmap(-1, self._size)

    def give_back(self, buffer: mmap.mmap) -> None:
        if len(buffer) == self._size:
            self._free.put(buffer)
        else:
            buffer.close()


class Packer:
    """Collects blobs of one type into one pack after the other. Belongs to one thread at a time.

    `stored` counts the bytes that all its blobs take in packs.
    """

    def __init__(self, key: Key, blob_type: BlobType, buffers: PackBuffers) -> None:
        self.type = blob_type
        self.stored = 0
        self._key = key
        self._sealer = Sealer(key)
        self._buffers = buffers
        self._zstd = zstandard.ZstdCompressor(compression_params=COMPRESSION)
        self._decoder = BlobDecoder(key)
        self._buffer: mmap.mmap | None = None
        self._blobs: list[PackedBlob] = []
        self._end = 0

    @property
    def empty(self) -> bool:
        """Whether no pack is under way."""
        return self._buffer is None

    def add(self, blob_id: bytes, plain: Data) -> FinishedPack | None:
        """Put a blob in; the pack that it did not fit into, or that it filled."""
        compressed = self._zstd.compress(plain)
        if len(compressed) < len(plain) * MIN_GAIN:
            return self._append(blob_id, compressed, len(plain))
        return self._append(blob_id, plain, 0)

    def finish(self) -> FinishedPack | None:
        """Close the pack under way, if there is one: trailer, verification, id."""
        buffer, blobs = self._buffer, self._blobs
        if buffer is None:
            return None
        self._buffer, self._blobs = None, []
        trailer = encode_trailer(self._key, blobs)
        size = self._end + len(trailer)
        buffer[self._end : size] = trailer
        with memoryview(buffer) as whole, whole[:size] as pack:
            # what leaves here was read back: faulty memory or a library's bug must not reach the repository
            verify_pack(self._key, self._decoder, pack)
            return FinishedPack(hashlib.sha256(pack).digest(), blobs, size, buffer)

    def _append(self, blob_id: bytes, stored: Data, uncompressed_length: int) -> FinishedPack | None:
        needed = len(stored) + OVERHEAD
        full = None
        if self._buffer is not None and self._end + needed + header_size(len(self._blobs) + 1) > len(self._buffer):
            full = self.finish()
        if self._buffer is None:
            self._buffer, self._end = self._buffers.take(needed + header_size(1)), 0
        with memoryview(self._buffer) as view:
            self._sealer.seal_into(stored, view[self._end : self._end + needed])
        self._blobs.append(PackedBlob(self.type, blob_id, self._end, needed, uncompressed_length))
        self._end += needed
        self.stored += needed
        if full is None and (self._end >= PACK_SIZE or len(self._blobs) >= MAX_BLOBS):
            return self.finish()
        return full
