"""A connection to an SFTP server, for threads that wait; its errors are ours."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncssh

from icebrick.backend import layout
from icebrick.backend.base import Handle
from icebrick.backend.sessions import Entry, FileSession, reason
from icebrick.backend.sftp.eventloop import EventLoop
from icebrick.backend.sftp.link import ABSENT, SftpLink
from icebrick.blockdev import Data
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    StorageFullError,
)

T = TypeVar("T")

_BROKEN = (
    asyncssh.SFTPNoConnection,
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPBadMessage,
    asyncssh.DisconnectError,
    OSError,  # with it the TimeoutError of one who was silent for too long
)

_ERRORS: tuple[tuple[tuple[type[Exception], ...], type[BackendError]], ...] = (
    (ABSENT, FileMissingError),
    ((asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect), AccessDeniedError),
    ((asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded), StorageFullError),
    ((*_BROKEN, asyncssh.SFTPFailure), BackendUnavailableError),
    ((asyncssh.Error,), BackendError),
)


class SftpSession(FileSession):
    """Does everything on `loop`."""

    def __init__(self, loop: EventLoop, link: SftpLink, server: str) -> None:
        self._loop = loop
        self._link = link
        self._server = server
        self._in_doubt = False

    def alive(self) -> bool:
        return not self._in_doubt and self._link.open()

    def close(self) -> None:
        self._loop.run(self._link.close(politely=not self._in_doubt))

    def read(self, handle: Handle, offset: int, length: int | None) -> bytes:
        with self._translated("read", layout.path_of(handle)):
            return self._run(self._link.read(handle, offset, length))

    def size(self, path: str) -> int:
        with self._translated("examine", path):
            size = self._run(self._link.attributes(path)).size
        if size is None:
            raise BackendError(f"{self._server} tells no size of {self._link.at(path)}")
        return size

    def modified(self, path: str) -> datetime | None:
        with self._translated("examine", path):
            seconds = self._run(self._link.attributes(path)).mtime
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    def entries(self, directories: Sequence[str]) -> list[tuple[str, list[Entry]]]:
        with self._translated("list", directories[0]):
            return self._run(self._link.entries(directories))

    def write_new(self, path: str, data: Data) -> None:
        with self._translated("save", path):
            self._run(self._link.write_new(path, memoryview(data).cast("B")))

    def rename(self, old: str, new: str) -> None:
        with self._translated("save", new):
            self._run(self._link.rename(old, new))

    def remove(self, path: str) -> None:
        with self._translated("remove", path):
            self._run(self._link.remove(path))

    def make_directories(self, paths: Sequence[str]) -> None:
        with self._translated("create", paths[0]):
            self._run(self._link.make_directories(paths))

    def make_root(self) -> list[str]:
        with self._translated("create", ""):
            return self._run(self._link.make_root())

    def remove_directories(self, paths: Sequence[str]) -> None:
        with self._translated("remove", ""):
            self._run(self._link.remove_directories([self._link.at(path) for path in paths]))

    def remove_root(self, made: Sequence[str]) -> bool:
        with self._translated("remove", ""):
            return self._run(self._link.remove_directories(reversed(made)))

    def sync_directory(self, path: str) -> None:
        with self._translated("save", path):
            self._run(self._link.sync_directory(path))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(self._link.watched(work))

    @contextmanager
    def _translated(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except BackendError:
            raise
        except (asyncssh.Error, OSError) as error:
            self._in_doubt = isinstance(error, _BROKEN)
            kind = next(ours for theirs, ours in _ERRORS if isinstance(error, theirs))
            raise kind(f"cannot {verb} {self._link.at(path)} on {self._server}: {reason(error)}") from error
        except BaseException:
            self._in_doubt = True  # interrupted, with answers on their way
            raise
