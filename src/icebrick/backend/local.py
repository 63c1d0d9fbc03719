"""A repository in a directory of this host, which may be a network file system.

Decision record: docs/design/decisions/0002-local-backend.md.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from icebrick.backend import durable, layout
from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.ranges import range_length
from icebrick.blockdev import Data
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    ShortReadError,
    StorageFullError,
)

FILE_MODE = 0o400
DIRECTORY_MODE = 0o700

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})

# What is not here may pass: EIO, ESTALE, ETIMEDOUT, EMFILE and the like.
_ERRORS: dict[int | None, type[BackendError]] = {
    errno.ENOSPC: StorageFullError,
    errno.EDQUOT: StorageFullError,
    errno.EACCES: AccessDeniedError,
    errno.EPERM: AccessDeniedError,
    errno.EROFS: AccessDeniedError,
    errno.EFBIG: BackendError,
    errno.EISDIR: BackendError,
    errno.ELOOP: BackendError,
    errno.ENAMETOOLONG: BackendError,
}


class LocalBackend(Backend):
    """Files below `root`, an absolute path. Only `create` makes the root; saves make what is missing below it."""

    def __init__(self, root: Path) -> None:
        self.location = f"local:{root}"
        self.connections = 4
        self._root = root
        self._made: list[Path] = []
        self._ready: set[Path] = set()
        self._lock = threading.Lock()  # guards _ready, and makes the second maker of a directory wait for the first

    def create(self) -> None:
        with _translated("create", self._root, absent=BackendError):
            self._made += durable.missing_directories(self._root)
            durable.make_directories(self._made, mode=DIRECTORY_MODE)
            durable.make_directories((self._root / path for path in layout.directories()), mode=DIRECTORY_MODE)

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        path = self._path(handle)
        with _translated("read", path), _opened(path) as fd:
            wanted = range_length(FileInfo(handle, os.fstat(fd).st_size), offset, length)
            content = _read(fd, offset, wanted)
        if len(content) != wanted:
            raise ShortReadError(f"read {len(content)} instead of {wanted} bytes at {offset} of {path}")
        return content

    def stat(self, handle: Handle) -> FileInfo:
        path = self._path(handle)
        with _translated("examine", path):
            return FileInfo(handle, os.stat(path).st_size)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        if file_type is FileType.CONFIG:
            with suppress(FileMissingError):
                yield self.stat(Handle(file_type))
            return
        for directory in self._directories(file_type):
            for entry, status in _files_in(self._root / directory):
                handle = layout.handle_of(f"{directory}/{entry}")
                if handle is not None:
                    yield FileInfo(handle, status.st_size)

    def close(self) -> None:
        pass

    def save(self, handle: Handle, data: Data) -> None:
        path = self._path(handle)
        with _translated("save", path, absent=BackendError):
            self._prepare(path.parent)
            durable.replace_file(path, data, mode=FILE_MODE)

    def remove(self, handle: Handle) -> None:
        path = self._path(handle)
        with _translated("remove", path):
            durable.remove_file(path)

    def sweep(self, now: datetime) -> int:
        oldest = (now - layout.STALE_AFTER).timestamp()
        swept = 0
        for directory in ("", *layout.directories()):
            for name, status in _files_in(self._root / directory):
                if layout.is_temporary(name) and status.st_mtime < oldest:
                    path = self._root / directory / name
                    with _translated("remove", path):
                        durable.remove_file(path)
                    swept += 1
        return swept

    def discard(self) -> bool:
        places = [*self._made, *(self._root / path for path in layout.directories())]
        for path in reversed(places):
            with suppress(OSError):
                os.rmdir(path)
        return not any(path.exists() for path in self._made)

    def _path(self, handle: Handle) -> Path:
        return self._root / layout.path_of(handle)

    def _directories(self, file_type: FileType) -> Iterator[str]:
        if file_type is not FileType.PACK:
            yield file_type.value
            return
        names: list[str] = []
        with _translated("list", self._root), suppress(FileNotFoundError):
            names = os.listdir(self._root / file_type.value)
        yield from (f"{file_type.value}/{name}" for name in names if layout.is_pack_directory(name))

    def _prepare(self, directory: Path) -> None:
        """Make the directory, and those between it and the root; durable before anything in it can be."""
        if directory == self._root:
            return
        with self._lock:
            if directory not in self._ready:
                self._make(directory)

    def _make(self, directory: Path) -> None:
        below_root = [path for path in (*reversed(directory.parents), directory) if self._root in path.parents]
        missing = [path for path in below_root if path not in self._ready]
        durable.make_directories(missing, mode=DIRECTORY_MODE)
        self._ready.update(missing)


@contextmanager
def _translated(verb: str, path: Path, *, absent: type[BackendError] = FileMissingError) -> Iterator[None]:
    """OSErrors become ours; `absent` when there is no such file, or a directory on the way is missing."""
    try:
        yield
    except OSError as error:
        kind = absent if error.errno in _ABSENT else _ERRORS.get(error.errno, BackendUnavailableError)
        raise kind(f"cannot {verb} {path}: {(error.strerror or str(error)).lower()}") from error


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def _read(fd: int, offset: int, length: int) -> bytes:
    """Up to `length` bytes: fewer only where the file ends."""
    parts = []
    while length and (part := os.pread(fd, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


def _files_in(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Name and status of each regular file; a directory, or a file, that is not there (any more) gives nothing."""
    with _translated("list", directory), suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield entry.name, status
