"""Reading and writing an open block device or image file. All positions are given, so threads need no lock."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from icebrick.blockdev import BlockSource, BlockTarget, Data, Extent, check_range
from icebrick.errors import AttachError
from icebrick.zeroing import zero_range


class DeviceSource(BlockSource):
    """Reads through the page cache. `path` is for messages; whoever opened `fd` closes it."""

    def __init__(self, fd: int, path: str, size: int) -> None:
        self._fd = fd
        self._path = path
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self._size, offset, len(buffer))
        done = 0
        with device_errors(f"read {len(buffer)} bytes at {offset} of {self._path}"):
            while done < len(buffer):
                got = os.preadv(self._fd, [buffer[done:]], offset + done)
                if got == 0:
                    raise ended_early(self._path, offset + done, self._size)
                done += got

    def extents(self) -> Iterator[Extent]:
        return data_extents(self._fd, self._path, self._size)


class DeviceTarget(BlockTarget):
    """Writes through the page cache, reads through `reader`. `path` is for messages; whoever opened `fd` closes it."""

    def __init__(self, fd: int, path: str, reader: BlockSource) -> None:
        self._fd = fd
        self._path = path
        self._source = reader

    @property
    def size(self) -> int:
        return self._source.size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._source.read_into(offset, buffer)

    def extents(self) -> Iterator[Extent]:
        return self._source.extents()

    def write(self, offset: int, data: Data) -> None:
        view = memoryview(data).cast("B")
        check_range(self.size, offset, len(view))
        done = 0
        with device_errors(f"write {len(view)} bytes at {offset} of {self._path}"):
            while done < len(view):
                done += os.pwrite(self._fd, view[done:], offset + done)

    def discard(self, extent: Extent) -> None:
        check_range(self.size, extent.offset, extent.length)
        with device_errors(f"discard {extent.length} bytes at {extent.offset} of {self._path}"):
            zero_range(self._fd, extent.offset, extent.length)

    def flush(self) -> None:
        with device_errors(f"flush {self._path}"):
            os.fsync(self._fd)


def data_extents(fd: int, path: str, size: int) -> Iterator[Extent]:
    """What a file has allocated; all of a block device, which does not tell."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        yield from [Extent(0, size)] if size else []
        return
    position = 0
    with device_errors(f"find the data of {path}"):
        while position < size and (start := _seek(fd, position, os.SEEK_DATA)) is not None and start < size:
            end = _seek(fd, start, os.SEEK_HOLE)
            position = min(size if end is None else end, size)
            yield Extent(start, position - start)


def _seek(fd: int, position: int, whence: int) -> int | None:
    """The next data or hole; None when there is no more. The file's own position is of no meaning to us."""
    try:
        return os.lseek(fd, position, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def ended_early(path: str, offset: int, size: int) -> AttachError:
    """For a device that gives no bytes where its size promised some."""
    return AttachError(f"{path} ends at {offset}, before its size of {size} bytes: was it shrunk or detached?")


@contextmanager
def device_errors(doing: str) -> Iterator[None]:
    """Raise what the kernel refuses as AttachError; `doing` completes "cannot ..."."""
    try:
        yield
    except OSError as error:
        raise AttachError(f"cannot {doing}: {error.strerror or error}") from error
