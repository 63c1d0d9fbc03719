"""Coroutines that do with an SFTP server what a repository needs, many requests at once where that is faster."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncssh

from icebrick.backend import layout
from icebrick.backend.base import FileInfo, Handle
from icebrick.backend.ranges import range_length
from icebrick.backend.sessions import Entry, check_length
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    ShortReadError,
    StorageFullError,
)

T = TypeVar("T")

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

READ_AHEAD = 4 << 20
"""Bytes asked for at once: what a gigabit holds in 30 ms."""

SENT_AHEAD = 7 << 18
"""Bytes sent before an answer is waited for. OpenSSH takes 2 MiB; what is sent at the edge goes in small packets."""

ABSENT = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)

_READ_ONLY = 1  # in the flags of statvfs@openssh.com


class SftpLink:
    """One connection. Paths are below `root`, which is the path ""; errors are asyncssh's where not said otherwise."""

    def __init__(
        self, connection: asyncssh.SSHClientConnection, client: asyncssh.SFTPClient, root: str, *, patience: float
    ) -> None:
        self._connection = connection
        self._client = client
        self._root = root
        self._patience = patience
        self._limit: asyncio.Timeout | None = None

    def at(self, path: str) -> str:
        """As the server knows it."""
        return f"{self._root.rstrip('/')}/{path}" if path else self._root

    def open(self) -> bool:
        return not self._connection.is_closed()

    async def watched(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives; TimeoutError when the server gives no sign of life for `patience` seconds."""
        async with asyncio.timeout(self._patience) as self._limit:
            return await work

    async def close(self, *, politely: bool) -> None:
        """Politely, the server gets a moment to agree."""
        if politely:
            self._connection.close()
            with suppress(OSError, asyncssh.Error):
                async with asyncio.timeout(5):
                    await self._connection.wait_closed()
        self._connection.abort()

    async def read(self, handle: Handle, offset: int, length: int | None) -> bytes:
        """ShortReadError as in `ReadBackend.load`."""
        range_length(FileInfo(handle, offset + (length or 0)), offset, length)  # no negative range goes on its way
        path = self.at(layout.path_of(handle))
        check_length(length or 0, path)
        async with _closing(await self._client.open(path, asyncssh.FXF_READ, encoding=None, block_size=0)) as file:
            if length is None:
                size = (await file.stat()).size or 0
                check_length(size - offset, path)
                content = await self._fetch(file, offset, size - offset)
            else:
                status, content = await asyncio.gather(file.stat(), self._fetch(file, offset, length))
                size = status.size or 0
        wanted = range_length(FileInfo(handle, size), offset, length)
        if len(content) != wanted:
            raise ShortReadError(f"{path} gave {len(content)} instead of {wanted} bytes at {offset}")
        return content

    async def attributes(self, path: str) -> asyncssh.SFTPAttrs:
        return await self._client.stat(self.at(path))

    async def entries(self, directories: Sequence[str]) -> list[tuple[str, list[Entry]]]:
        """As in `FileSession`."""
        found: dict[str, list[Entry]] = {}

        async def look(directory: str) -> None:
            with suppress(*ABSENT):
                found[directory] = [_entry(name) async for name in self._client.scandir(self.at(directory))]
            self._progress()

        await _together(look(directory) for directory in directories)
        return list(found.items())

    async def write_new(self, path: str, view: memoryview) -> None:
        """A file of this content and size, synced; BackendError when the server shows why that cannot be."""
        where = self.at(path)
        flags = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
        mode = asyncssh.SFTPAttrs(permissions=FILE_MODE)
        try:
            async with _closing(await self._client.open(where, flags, mode, encoding=None, block_size=0)) as file:
                await self._send(file, view)
                with suppress(asyncssh.SFTPOpUnsupported):
                    await file.fsync()
                size = (await file.stat()).size
        except asyncssh.SFTPFailure as error:
            raise await self._cause(where, len(view)) or error from error
        if size != len(view):
            raise BackendUnavailableError(f"{where} has {size} bytes after {len(view)} were written")

    async def rename(self, old: str, new: str) -> None:
        try:
            await self._client.posix_rename(self.at(old), self.at(new))
        except asyncssh.SFTPOpUnsupported:
            # Between the two there is no file of that name; such servers know nothing better.
            await self.remove(new)
            await self._client.rename(self.at(old), self.at(new))

    async def remove(self, path: str) -> None:
        with suppress(*ABSENT):
            await self._client.remove(self.at(path))

    async def make_directories(self, paths: Iterable[str]) -> None:
        await _together(self._make_directory(self.at(path)) for path in paths)

    async def make_root(self) -> list[str]:
        """What was missing, topmost first, as the server knows it."""
        missing: list[str] = []
        path = self._root
        while path and not await self._client.isdir(path):
            missing.insert(0, path)
            path = path.rpartition("/")[0]
        for path in missing:
            await self._make_directory(path)
            await self._sync(_parent(path))
        return missing

    async def remove_directories(self, paths: Iterable[str]) -> bool:
        """Those that are empty, in their order, with paths as the server knows them; whether all are gone."""
        return all([await self._remove_directory(path) for path in paths])

    async def sync_directory(self, path: str) -> None:
        await self._sync(self.at(path))

    async def _fetch(self, file: asyncssh.SFTPClientFile, offset: int, length: int) -> bytes:
        """Up to `length` bytes: fewer only where the file ends."""
        block = self._client.limits.max_read_len
        parts: dict[int, bytes] = {}
        end = length

        async def fetch(start: int) -> None:
            nonlocal end
            stop = min(start + block, end)
            while start < stop:  # servers may answer with less than they were asked for
                part: bytes = await file.read(stop - start, offset + start)
                self._progress()
                if not part:
                    end = min(end, start)
                parts[start] = part[: stop - start]
                start = start + len(part) if part else stop

        await _lanes(fetch, range(0, length, block), READ_AHEAD // block)
        return b"".join(parts[start] for start in sorted(parts) if start < end)

    async def _send(self, file: asyncssh.SFTPClientFile, view: memoryview) -> None:
        block = self._client.limits.max_write_len

        async def send(start: int) -> None:
            await file.write(bytes(view[start : start + block]), start)
            self._progress()

        await _lanes(send, range(0, len(view), block), SENT_AHEAD // block)

    async def _cause(self, path: str, size: int) -> BackendError | None:
        """Why the server may have failed to write so much; all it says is "failure"."""
        try:
            space = await self._client.statvfs(_parent(path))
        except asyncssh.SFTPError:
            return None
        if space.flags & _READ_ONLY:
            return AccessDeniedError(f"cannot save {path}: the file system is read-only")
        if space.bavail * space.frsize < size or (space.files and not space.favail):
            return StorageFullError(f"cannot save {path}: no space left")
        return None

    async def _make_directory(self, path: str) -> None:
        try:
            await self._client.mkdir(path, asyncssh.SFTPAttrs(permissions=DIRECTORY_MODE))
        except asyncssh.SFTPError:  # servers differ in what they answer when it exists
            if not await self._client.isdir(path):
                raise
        self._progress()

    async def _remove_directory(self, path: str) -> bool:
        self._progress()
        try:
            await self._client.rmdir(path)
        except ABSENT:
            return True
        except (asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied):
            return False
        return True

    async def _sync(self, directory: str) -> None:
        """OpenSSH opens and syncs a directory as any file. Where that is refused there is nothing stronger to ask."""
        with suppress(asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied, asyncssh.SFTPOpUnsupported):
            async with _closing(await self._client.open(directory, asyncssh.FXF_READ, encoding=None)) as file:
                await file.fsync()

    def _progress(self) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._patience)


async def _lanes(work: Callable[[int], Coroutine[Any, Any, None]], starts: range, count: int) -> None:
    """Do `work` for each block, so many at once."""
    rest = iter(starts)

    async def lane() -> None:
        for start in rest:
            await work(start)

    await _together(lane() for _ in range(min(len(starts), max(count, 4))))


async def _together(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all; the first error ends the rest."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


@asynccontextmanager
async def _closing(file: asyncssh.SFTPClientFile) -> AsyncIterator[asyncssh.SFTPClientFile]:
    """Close it at the end, but not when cancelled: then nobody waits for the server's answer any more."""
    try:
        yield file
    except (asyncssh.Error, BackendError):
        with suppress(asyncssh.Error):
            await file.close()
        raise
    await file.close()


def _parent(path: str) -> str:
    above = path.rpartition("/")[0]
    return above or ("/" if path.startswith("/") else ".")


def _entry(name: asyncssh.SFTPName) -> Entry:
    filename = name.filename if isinstance(name.filename, str) else name.filename.decode(errors="replace")
    mode = name.attrs.permissions
    return Entry(filename, name.attrs.size or 0, is_file=mode is not None and stat.S_ISREG(mode))
