"""A repository in directories on a server of files, in restic's default layout."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import chain, islice
from typing import Generic

from icebrick.backend import layout
from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.sessions import S, SessionPool
from icebrick.blockdev import Data
from icebrick.errors import BackendError, FileMissingError

_AT_FIRST, _AT_ONCE = 4, 64
"""Directories that are listed by one call: few, as the caller may not want more; then twice as many each time."""


class TreeBackend(Backend, Generic[S]):
    """Only `create` makes the root; saves make what is missing below it.

    A file gets its name when it is whole; until then its name holds `temp_mark`.
    """

    pack_directories = False
    """Whether `create` makes all of them. Listings then look into all of them, too."""

    def __init__(self, location: str, pool: SessionPool[S], *, connections: int, temp_mark: str) -> None:
        self.location = location
        self.connections = connections
        self._pool = pool
        self._temp_mark = temp_mark
        self._made: list[str] = []

    def create(self) -> None:
        with self._pool.lend() as session, _nothing_absent(self.location):
            self._made += session.make_root()
            every = list(layout.directories())
            session.make_directories([path for path in every if "/" not in path])
            if self.pack_directories:
                session.make_directories([path for path in every if "/" in path])
            session.sync_directory("")
            session.sync_directory(FileType.PACK.value)

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        with self._pool.lend() as session:
            return session.read(handle, offset, length)

    def stat(self, handle: Handle) -> FileInfo:
        with self._pool.lend() as session:
            return FileInfo(handle, session.size(layout.path_of(handle)))

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        if file_type is FileType.CONFIG:
            with suppress(FileMissingError):
                yield self.stat(Handle(file_type))
            return
        for path, size in self._files_in(self._directories_of(file_type)):
            handle = layout.handle_of(path)
            if handle is not None:
                yield FileInfo(handle, size)

    def close(self) -> None:
        self._pool.close()

    def save(self, handle: Handle, data: Data) -> None:
        path = layout.path_of(handle)
        directory = path.rpartition("/")[0]
        temp = f"{path}{self._temp_mark}{secrets.token_hex(16)}"
        with self._pool.lend() as session, _nothing_absent(f"{self.location} {path}"), ExitStack() as undo:
            undo.callback(_remove_quietly, session, temp)
            try:
                session.write_new(temp, data)
            except FileMissingError:
                _make_above(session, path)
                session.write_new(temp, data)
            session.rename(temp, path)
            undo.pop_all()
            session.sync_directory(directory)

    def remove(self, handle: Handle) -> None:
        path = layout.path_of(handle)
        with self._pool.lend() as session:
            session.remove(path)
            with suppress(FileMissingError):
                session.sync_directory(path.rpartition("/")[0])

    def sweep(self, now: datetime) -> int:
        oldest = now - layout.STALE_AFTER
        swept = 0
        flat = ("", *(path for path in layout.directories() if "/" not in path))
        for path, _ in self._files_in(chain(flat, self._directories_of(FileType.PACK))):
            if layout.is_temporary(path.rpartition("/")[2]):
                swept += self._sweep_file(path, oldest)
        return swept

    def discard(self) -> bool:
        packs = list(self._directories_of(FileType.PACK))
        with self._pool.lend() as session:
            session.remove_directories([*packs, *(path for path in layout.directories() if "/" not in path)])
            return session.remove_root(self._made)

    def _sweep_file(self, path: str, oldest: datetime) -> bool:
        with self._pool.lend() as session:
            try:
                modified = session.modified(path)
            except FileMissingError:
                return False
            if modified is None or modified >= oldest:
                return False
            session.remove(path)
            return True

    def _directories_of(self, file_type: FileType) -> Iterator[str]:
        top = file_type.value
        if file_type is not FileType.PACK:
            yield top
            return
        with self._pool.lend() as session:
            names = [entry.name for _, entries in session.entries([top]) for entry in entries if not entry.is_file]
        yield from (f"{top}/{name}" for name in names if layout.is_pack_directory(name))

    def _files_in(self, directories: Iterator[str]) -> Iterator[tuple[str, int]]:
        """Path and size of each file. No session is held while the caller works on what it got."""
        count = _AT_FIRST
        while some := list(islice(directories, count)):
            count = min(2 * count, _AT_ONCE)
            with self._pool.lend() as session:
                found = session.entries(some)
            for directory, entries in found:
                for entry in entries:
                    if entry.is_file:
                        yield (f"{directory}/{entry.name}" if directory else entry.name), entry.size


def _make_above(session: S, path: str) -> None:
    """Make the directories between the root and the file, durable before anything in them can be."""
    parts = path.split("/")[:-1]
    for depth in range(len(parts)):
        session.make_directories(["/".join(parts[: depth + 1])])
        session.sync_directory("/".join(parts[:depth]))


def _remove_quietly(session: S, path: str) -> None:
    if session.alive():  # else it may be silent, and what stays is for `sweep`
        with suppress(BackendError):  # the error that brought us here is the one to tell
            session.remove(path)


@contextmanager
def _nothing_absent(what: str) -> Iterator[None]:
    """Where a directory that is missing is no answer but a failure: a file system may just not be mounted there."""
    try:
        yield
    except FileMissingError as error:
        raise BackendError(f"cannot write to {what}: {error}") from error
