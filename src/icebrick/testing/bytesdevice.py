"""Devices in memory: only what was written takes room, so a GiB of zeros costs nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from icebrick.blockdev import BlockSource, BlockTarget, Data, Extent, check_range
from icebrick.errors import AttachError

_CHUNK = 4096


class BytesTarget(BlockTarget):
    """A device of `size` bytes, all zeros but for what `data` starts it with. `lock` guards the chunks."""

    def __init__(self, size: int, data: Data = b"") -> None:
        self._size = size
        self._chunks: dict[int, bytearray] = {}
        self._lock = threading.Lock()
        self.flushes = 0
        if data:
            self.write(0, data)

    @property
    def size(self) -> int:
        return self._size

    @property
    def read_only(self) -> bool:
        return False

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self._size, offset, len(buffer))
        with self._lock:
            for number, start, length, done in _pieces(offset, len(buffer)):
                chunk = self._chunks.get(number)
                piece = chunk[start : start + length] if chunk else bytes(length)
                buffer[done : done + length] = piece

    def extents(self) -> Iterator[Extent]:
        with self._lock:
            numbers = sorted(self._chunks)
        for number in numbers:
            offset = number * _CHUNK
            yield Extent(offset, min(_CHUNK, self._size - offset))

    def write(self, offset: int, data: Data) -> None:
        view = memoryview(data).cast("B")
        check_range(self._size, offset, len(view))
        with self._lock:
            for number, start, length, done in _pieces(offset, len(view)):
                chunk = self._chunks.setdefault(number, bytearray(_CHUNK))
                chunk[start : start + length] = view[done : done + length]

    def discard(self, extent: Extent) -> None:
        check_range(self._size, extent.offset, extent.length)
        with self._lock:
            for number in [n for n in self._chunks if n * _CHUNK < extent.end and (n + 1) * _CHUNK > extent.offset]:
                chunk = self._chunks[number]
                start = max(extent.offset - number * _CHUNK, 0)
                end = min(extent.end - number * _CHUNK, _CHUNK)
                chunk[start:end] = bytes(end - start)
                if not any(chunk):
                    del self._chunks[number]

    def flush(self) -> None:
        self.flushes += 1

    def copy(self) -> BytesTarget:
        """Another device with the same content."""
        other = BytesTarget(self._size)
        with self._lock:
            other._chunks = {number: bytearray(chunk) for number, chunk in self._chunks.items()}
        return other

    def content(self) -> bytes:
        """All of it."""
        buffer = bytearray(self._size)
        self.read_into(0, memoryview(buffer))
        return bytes(buffer)


class BytesSource(BlockSource):
    """A device for reading only. `extents` tells where data may be; without it, everywhere that is not zero."""

    def __init__(self, data: Data, extents: tuple[Extent, ...] | None = None) -> None:
        self._content = BytesTarget(len(data), data) if data else BytesTarget(0)
        self._extents = extents

    @property
    def size(self) -> int:
        return self._content.size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._content.read_into(offset, buffer)

    def extents(self) -> Iterator[Extent]:
        return iter(self._extents) if self._extents is not None else self._content.extents()


class ReadOnlyTarget(BytesTarget):
    """What a write through a read-only attachment meets."""

    def __init__(self, content: BytesTarget) -> None:
        super().__init__(content.size)
        self._chunks, self._lock = content._chunks, content._lock

    @property
    def read_only(self) -> bool:
        return True

    def write(self, offset: int, data: Data) -> None:
        raise AttachError(f"cannot write {len(data)} bytes at {offset}: the device is read-only")

    def discard(self, extent: Extent) -> None:
        raise AttachError(f"cannot discard {extent.length} bytes at {extent.offset}: the device is read-only")


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    """Chunk number, start in the chunk, length, how much came before; for each chunk of a range."""
    done = 0
    while done < length:
        number, start = divmod(offset + done, _CHUNK)
        piece = min(_CHUNK - start, length - done)
        yield number, start, piece, done
        done += piece
