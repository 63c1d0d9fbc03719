"""What a storage medium must do to hold a repository."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from icebrick.blockdev import Data


class FileType(Enum):
    """The kinds of files in a restic repository; the value is restic's directory name."""

    CONFIG = "config"
    KEY = "keys"
    LOCK = "locks"
    SNAPSHOT = "snapshots"
    INDEX = "index"
    PACK = "data"


@dataclass(frozen=True, slots=True)
class Handle:
    """Names one file. `name` is 64 lower-case hex digits, or empty for the one CONFIG file."""

    type: FileType
    name: str = ""
    trees: bool = field(default=False, compare=False)
    """Said by who knows that this pack has trees in it: like index and snapshots, it is worth keeping near."""

    def __str__(self) -> str:
        return f"{self.type.value}/{self.name}" if self.name else self.type.value


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file as the storage tells of it; `size` in bytes."""

    handle: Handle
    size: int


class ReadBackend(Protocol):
    """What restore and check take: it cannot change anything. Methods may be called from any thread."""

    location: str
    """For logs and messages; never holds secrets."""
    connections: int
    """How many calls at once the medium serves well."""

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        """Exactly the range (to the end when `length` is None), or ShortReadError; FileMissingError."""

    def stat(self, handle: Handle) -> FileInfo:
        """FileMissingError when it is not there."""

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        """Every file of the type, in no particular order; other files there are passed over.

        A type with no files, or no place for them yet, gives nothing.
        """

    def close(self) -> None:
        """Give back connections. Nothing may be called afterwards; closing twice is fine."""


class Backend(ReadBackend, Protocol):
    """A medium that can be written.

    A save that failed leaves no file under the name, or the whole file; never a part of it.
    """

    def create(self) -> None:
        """Make the places files go to, before the first save. What is already there stays as it is.

        Media that need no such places have nothing to do.
        """
        return

    def save(self, handle: Handle, data: Data) -> None:
        """A reader sees all of it or no file; durable on return. An existing file is replaced."""

    def remove(self, handle: Handle) -> None:
        """Gone afterwards, durably; was missing: no error."""

    def sweep(self, now: datetime) -> int:
        """Remove what saves of killed processes left behind, and answer how many files that were.

        Only what no save that still runs can be using: see `layout.STALE_AFTER`. `now` has a time zone.
        """
        return 0

    def discard(self) -> bool:
        """Undo `create`: remove its places, which are empty. Whether nothing of them is left; no error when not."""
        return True


class BackendWrapper(Backend):
    """Passes everything on; wrappers override what they are about."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.location = inner.location
        self.connections = inner.connections

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.load(handle, offset=offset, length=length)

    def stat(self, handle: Handle) -> FileInfo:
        return self.inner.stat(handle)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        return self.inner.list_files(file_type)

    def create(self) -> None:
        self.inner.create()

    def save(self, handle: Handle, data: Data) -> None:
        self.inner.save(handle, data)

    def remove(self, handle: Handle) -> None:
        self.inner.remove(handle)

    def sweep(self, now: datetime) -> int:
        return self.inner.sweep(now)

    def discard(self) -> bool:
        return self.inner.discard()

    def close(self) -> None:
        self.inner.close()
