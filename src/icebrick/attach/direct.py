"""Reading past the page cache: what the storage holds, not what this host remembers having written."""

from __future__ import annotations

import mmap
import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager

from icebrick.attach.blockio import data_extents, device_errors, ended_early
from icebrick.blockdev import BlockSource, Extent, check_range

_ALIGNMENT = 4096
"""Of offsets, lengths and memory: the largest that block devices and file systems ask for."""
_BUFFER = 1 << 20


class DirectSource(BlockSource):
    """Reads an `fd` opened with O_DIRECT, through one aligned buffer of 1 MiB for each thread that reads at once."""

    def __init__(self, fd: int, path: str, size: int) -> None:
        self._fd = fd
        self._path = path
        self._size = size
        self._buffers: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()

    @property
    def size(self) -> int:
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self._size, offset, len(buffer))
        done = 0
        with device_errors(f"read {len(buffer)} bytes at {offset} of {self._path}"), self._aligned() as aligned:
            while done < len(buffer):
                done += self._read_piece(offset + done, buffer[done:], aligned)

    def extents(self) -> Iterator[Extent]:
        return data_extents(self._fd, self._path, self._size)

    def _read_piece(self, offset: int, buffer: memoryview, aligned: memoryview) -> int:
        """How many bytes of `buffer`, from its start, could be filled at once."""
        skip = offset % _ALIGNMENT
        wanted = min(-(-(skip + len(buffer)) // _ALIGNMENT) * _ALIGNMENT, len(aligned))
        got = os.preadv(self._fd, [aligned[:wanted]], offset - skip)
        length = min(got - skip, len(buffer))
        if length <= 0:
            raise ended_early(self._path, offset, self._size)
        buffer[:length] = aligned[skip : skip + length]
        return length

    @contextmanager
    def _aligned(self) -> Iterator[memoryview]:
        try:
            memory = self._buffers.get_nowait()
        except queue.Empty:
            memory = mmap.mmap(-1, _BUFFER)  # whole pages, hence aligned
        try:
            with memoryview(memory) as view:
                yield view
        finally:
            self._buffers.put(memory)
