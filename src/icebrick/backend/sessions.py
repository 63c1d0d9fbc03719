"""Connections to a server of files: what one can do, and how threads share several."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from icebrick.backend.base import Handle
from icebrick.backend.http.status import printable
from icebrick.blockdev import Data
from icebrick.errors import BackendError

MOST_BYTES = 1 << 30
"""In one answer: many times what a file of a repository has. Else a server could take all memory there is."""


def check_length(length: int, path: str) -> None:
    """BackendError for more than can be meant."""
    if length > MOST_BYTES:
        raise BackendError(f"{path} is said to have {length} bytes, which no file of a repository has")


def reason(error: BaseException) -> str:
    """Why a connection failed, in words for a message; nothing in them steers a terminal."""
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    if (isinstance(error, ConnectionError) or type(error) is OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return printable(str(error).strip() or type(error).__name__).rstrip(".").lower()


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory. `size` is in bytes; a directory's means nothing."""

    name: str
    size: int
    is_file: bool


class FileSession(Protocol):
    """One connection, used by one thread at a time. Paths are below the repository's root, which is the path "".

    Errors are ours, with the path and the server in them. After one that leaves the connection in doubt, `alive` is
    false.
    """

    def alive(self) -> bool:
        """Whether the next call has a chance; may ask the server."""

    def close(self) -> None:
        """Give back the connection; waits for no server that is silent, and never raises ours."""

    def read(self, handle: Handle, offset: int, length: int | None) -> bytes:
        """As `ReadBackend.load`."""

    def size(self, path: str) -> int:
        """Of a file, in bytes; FileMissingError."""

    def modified(self, path: str) -> datetime | None:
        """When the file was written last, with a time zone; None when the server does not tell."""

    def entries(self, directories: Sequence[str]) -> list[tuple[str, list[Entry]]]:
        """What is in each directory; those that are not there are left out. Anything but files may be, too."""

    def write_new(self, path: str, data: Data) -> None:
        """Make a file with this content: durably, as far as the server can, and of this size.

        FileMissingError when its directory is not there; after another error a part of it may be.
        """

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, at once where the server can; a file of that name is replaced."""

    def remove(self, path: str) -> None:
        """Was missing: no error."""

    def make_directories(self, paths: Sequence[str]) -> None:
        """Make those that are missing, in any order. FileMissingError when the one above is not there."""

    def make_root(self) -> list[str]:
        """Make the root, and what is missing above it; answers what was missing, for `remove_root`."""

    def remove_directories(self, paths: Sequence[str]) -> None:
        """Those that are empty, in their order; no error when not."""

    def remove_root(self, made: Sequence[str]) -> bool:
        """Those that `make_root` made, if they are empty; whether all are gone."""

    def sync_directory(self, path: str) -> None:
        """The names in the directory are durable on return, as far as the server can."""


S = TypeVar("S", bound=FileSession)


class SessionPool(Generic[S]):
    """Sessions, each lent to one thread at a time, and opened when all there are are lent out.

    One is opened after the other: servers refuse many connections that begin at the same moment.
    """

    def __init__(self, connect: Callable[[], S]) -> None:
        self._connect = connect
        self._connecting = threading.Lock()
        self._idle: list[S] = []
        self._lock = threading.Lock()  # guards _idle

    @contextmanager
    def lend(self) -> Iterator[S]:
        """One that is alive, for the block."""
        session = self._take()
        try:
            yield session
        finally:
            if session.alive():
                with self._lock:
                    self._idle.append(session)
            else:
                session.close()
                self.close()  # whatever broke this one: each of the others would only cost an attempt to find out

    def close(self) -> None:
        """Close all that are not lent."""
        while (session := self._pop()) is not None:
            session.close()

    def _take(self) -> S:
        while (session := self._pop()) is not None:
            if session.alive():
                return session
            session.close()
        with self._connecting:
            return self._connect()

    def _pop(self) -> S | None:
        with self._lock:
            return self._idle.pop() if self._idle else None
