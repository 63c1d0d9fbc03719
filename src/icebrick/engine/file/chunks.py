"""How a file becomes blobs: cut at fixed offsets, holes without being read.

Fixed offsets, not such that depend on the content: docs/design/decisions/0006-file-chunks.md.
"""

from __future__ import annotations

import threading

from icebrick.engine.block.zeros import SPARSE_ZERO, WIDE_BLOCKS
from icebrick.engine.file.base import FileContent
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import BlobType

CHUNK_SIZE = 1 << 20
STRIPE = 8
"""So many chunks are one thread's work at a time."""
_HUGE_FILE = 1 << 40
_HUGE_CHUNK = WIDE_BLOCKS * CHUNK_SIZE
_FIRST_HOLE = CHUNK_SIZE // SPARSE_ZERO


def chunk_size(size: int) -> int:
    """For a file of `size` bytes: larger chunks keep the lists of huge files within a hundred megabytes or so."""
    return _HUGE_CHUNK if size > _HUGE_FILE else CHUNK_SIZE


class Zeros:
    """The blobs that holes are made of; each is saved once. May be used from any thread."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer
        self._ids: dict[int, bytes] = {}

    def of(self, size: int, *, first: bool) -> list[bytes]:
        """The ids for `size` zeros (a multiple of `CHUNK_SIZE`); `first` for the first hole of a file.

        A file's first hole begins with blobs of restic's unit, for which `restore --sparse` looks.
        """
        ids: list[bytes] = []
        if first:
            ids += [self._id(SPARSE_ZERO)] * _FIRST_HOLE
            size -= CHUNK_SIZE
        wide, rest = divmod(size, _HUGE_CHUNK)
        return ids + [self._id(_HUGE_CHUNK)] * wide + [self._id(CHUNK_SIZE)] * (rest // CHUNK_SIZE)

    def _id(self, size: int) -> bytes:
        blob_id = self._ids.get(size)
        if blob_id is None:
            blob_id = self._ids[size] = self._writer.save(BlobType.DATA, bytes(size))
        return blob_id


def save_small(content: FileContent, size: int, writer: BlobWriter, buffer: memoryview) -> tuple[bytes, int]:
    """A file of at most a chunk: the id of its blob, none if it is empty, and the size as it was read."""
    length = content.read_into(buffer[:size]) if size else 0
    return writer.save(BlobType.DATA, buffer[:length]) if length else b"", length


class CutFile:
    """A file on its way into blobs. Any number of threads may `save` parts of it at the same time."""

    def __init__(self, content: FileContent, limit: int, writer: BlobWriter, zeros: Zeros) -> None:
        """Not more than `limit` bytes are read, however long the file has become."""
        self._content, self._limit, self._writer, self._zeros = content, limit, writer, zeros
        self.chunk = chunk_size(limit)
        self.size = 0
        self.ended = limit == 0
        self._sparse = False
        self._ids: list[bytes] = []
        self._lock = threading.Lock()  # guards the four above and the content

    @property
    def ids(self) -> bytes:
        """Of its blobs, in order; complete when it has `ended` and no `save` is under way."""
        return b"".join(self._ids)

    def save(self, buffer: memoryview, chunks: int) -> int:
        """Read and save the next `chunks`, through a buffer of the chunk's size; bytes read. FileSystemError."""
        total = 0
        for _ in range(chunks):
            number, length = self._read(buffer)
            if not length:
                break
            self._ids[number] = self._writer.save(BlobType.DATA, buffer[:length])
            total += length
        return total

    def _read(self, buffer: memoryview) -> tuple[int, int]:
        """The next chunk's number and length; no length at the end."""
        with self._lock:
            if self._limit > self.chunk and not self.ended:
                self._skip_hole()
            wanted = 0 if self.ended else min(self.chunk, self._limit - self.size)
            length = self._content.read_into(buffer[:wanted]) if wanted else 0
            self.size += length
            self.ended = self.ended or length < wanted or self.size >= self._limit
            if length:
                self._ids.append(b"")
            return len(self._ids) - 1, length

    def _skip_hole(self) -> None:
        size = min(self._content.hole(), self._limit - self.size) // self.chunk * self.chunk
        if size:
            self._content.skip(size)
            self.size += size
            self._ids += self._zeros.of(size, first=not self._sparse)
            self._sparse = True
            self.ended = self.size >= self._limit
