"""A file system that this host's kernel has mounted, read below one open directory.

Only that directory's descriptor is needed, as of a mount that is in no namespace. Everything below is opened one name
at a time, relative to its directory, without following symbolic links. Only regular files and directories are opened.

What has another device number than its directory is either a subvolume of the same btrfs, which is entered, or
another file system mounted there, which is not; the number of the mount tells which.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from icebrick.engine.file.base import (
    MAX_ATTRIBUTES,
    MAX_ENTRIES,
    Directory,
    Entry,
    FileContent,
    FileTree,
    Listing,
    Problem,
)
from icebrick.errors import FileSystemError
from icebrick.repository.tree import ExtendedAttribute

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SUBVOLUME_OF = 0xD0009412  # BTRFS_IOC_INO_LOOKUP
_ANY_OBJECT = 256  # BTRFS_FIRST_FREE_OBJECTID: asks for the subvolume alone


class HostTree(FileTree):
    """The file system whose root directory `descriptor` refers to (O_PATH is enough); it stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        if sys.getfilesystemencoding() != "utf-8":
            raise FileSystemError(
                f"file names would be misread in the encoding {sys.getfilesystemencoding()}",
                hint="Set LANG=C.UTF-8, or PYTHONUTF8=1.",
            )
        self._descriptor = descriptor

    def open_root(self) -> Directory:
        with _told("opened"):
            fd = os.open(".", _DIRECTORY, dir_fd=self._descriptor)
        return _HostDirectory(fd, "", 0)


class _HostDirectory(Directory):
    def __init__(self, fd: int, name: str, device: int) -> None:
        self._fd = fd
        self._device = device
        self._status = os.fstat(fd)
        self._name = name

    @property
    def entry(self) -> Entry:
        return _entry(self._name, self._status, self._device)

    def list(self) -> Listing:
        entries: list[Entry] = []
        problems: list[Problem] = []
        with _told("listed"), os.scandir(self._fd) as found:
            for item in found:
                if len(entries) >= MAX_ENTRIES:
                    problems.append(Problem("", f"only the first {MAX_ENTRIES} entries were read"))
                    break
                try:
                    status = item.stat(follow_symlinks=False)
                except OSError as error:
                    problems.append(Problem(item.name, f"could not be examined: {_reason(error)}"))
                else:
                    entries.append(_entry(item.name, status, self._device))
        return Listing(entries, tuple(problems))

    def attributes(self, name: str = "") -> tuple[ExtendedAttribute, ...]:
        # Links and devices have no descriptors that could be asked. The kernel leads to the directory, and the last
        # name is not followed.
        return _attributes(f"/proc/self/fd/{self._fd}/{name}") if name else _attributes(self._fd)

    def link_target(self, name: str) -> str:
        with _told("read"):
            return os.readlink(name, dir_fd=self._fd)

    def open_directory(self, name: str) -> Directory:
        with _told("opened"):
            fd = os.open(name, _DIRECTORY, dir_fd=self._fd)
            try:
                return self._child(fd, name)
            except BaseException:
                os.close(fd)
                raise

    def _child(self, fd: int, name: str) -> _HostDirectory:
        child = _HostDirectory(fd, name, self._device)
        if child._status.st_dev != self._status.st_dev:
            if _mount_of(fd) != _mount_of(self._fd):
                raise FileSystemError("another file system is mounted here")
            child._device = _subvolume(fd)
        return child

    def expect(self, files: Sequence[Entry]) -> None:
        pass  # opening costs little here, and begins to read

    def open_file(self, name: str) -> FileContent:
        try:
            fd = os.open(name, _FILE, dir_fd=self._fd)
        except OSError as error:
            raise _failed("opened", error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileSystemError("no regular file any more")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)  # begins to read the first part, and waits for nothing
        return _HostFile(fd)

    def close(self) -> None:
        os.close(self._fd)


class _HostFile(FileContent):
    """Where data and holes are is asked of the file system, which may not know; then there are no holes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._position = 0
        self._data_end = 0  # up to here there is no hole

    def hole(self) -> int:
        if self._position < self._data_end:
            return 0
        try:
            data = os.lseek(self._fd, self._position, os.SEEK_DATA)
            if data == self._position:
                self._data_end = os.lseek(self._fd, data, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                return 0
            data = os.lseek(self._fd, 0, os.SEEK_END)  # no data up to the end
        return max(0, data - self._position)

    def skip(self, count: int) -> None:
        self._position += count

    def read_into(self, buffer: memoryview) -> int:
        filled = 0
        try:
            while filled < len(buffer) and (count := os.preadv(self._fd, [buffer[filled:]], self._position)):
                filled += count
                self._position += count
        except OSError as error:
            raise _failed("read", error) from error
        return filled

    def attributes(self) -> tuple[ExtendedAttribute, ...]:
        return _attributes(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _told(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(verb, error) from error


def _failed(verb: str, error: OSError) -> FileSystemError:
    return FileSystemError(f"could not be {verb}: {_reason(error)}")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _entry(name: str, status: os.stat_result, device: int) -> Entry:
    return Entry(
        name,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        device,
        status.st_nlink,
        status.st_size,
        status.st_rdev,
    )


def _attributes(where: str | int) -> tuple[ExtendedAttribute, ...]:
    """Of an open file, or of what a path leads to, which is not followed if it is a link."""
    follow = isinstance(where, int)
    found: list[ExtendedAttribute] = []
    size = 0
    try:
        for name in os.listxattr(where, follow_symlinks=follow):
            found.append(ExtendedAttribute(name, os.getxattr(where, name, follow_symlinks=follow)))
            size += len(name) + len(found[-1].value)
            if size > MAX_ATTRIBUTES:
                raise FileSystemError(f"more than {MAX_ATTRIBUTES} bytes of extended attributes")
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return ()
        raise FileSystemError(f"extended attributes could not be read: {_reason(error)}") from error
    return tuple(found)


def _mount_of(fd: int) -> str:
    """The number of the mount that an open file lies in."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        return next(line for line in lines if line.startswith("mnt_id:"))


def _subvolume(fd: int) -> int:
    """The number of the btrfs subvolume that a directory lies in; never reused, the same wherever it is mounted."""
    request = bytearray(struct.pack("<QQ", 0, _ANY_OBJECT).ljust(4096, b"\0"))
    fcntl.ioctl(fd, _SUBVOLUME_OF, request)
    return int.from_bytes(request[:8], "little")
