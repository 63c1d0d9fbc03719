"""Changes that look done and never reach the medium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime

from icebrick.backend.base import Backend, BackendWrapper, FileInfo, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.blockdev import Data


class DryRunBackend(BackendWrapper):
    """Keeps what is saved in memory, where loads and listings find it, and hides what is removed.

    Every saved byte stays in memory until this object goes: for removing, and for adding little.
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._saved = MemoryBackend()
        self._touched: set[Handle] = set()
        self._lock = threading.Lock()  # guards _touched, and joins it with _saved

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        return self._holder(handle).load(handle, offset=offset, length=length)

    def stat(self, handle: Handle) -> FileInfo:
        return self._holder(handle).stat(handle)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        with self._lock:
            touched = set(self._touched)
            saved = list(self._saved.list_files(file_type))
        yield from saved
        for info in self.inner.list_files(file_type):
            if info.handle not in touched:
                yield info

    def create(self) -> None:
        """Nothing: `_saved` needs no places."""

    def save(self, handle: Handle, data: Data) -> None:
        with self._lock:
            self._saved.save(handle, data)
            self._touched.add(handle)

    def remove(self, handle: Handle) -> None:
        with self._lock:
            self._saved.remove(handle)
            self._touched.add(handle)

    def sweep(self, now: datetime) -> int:
        return 0

    def discard(self) -> bool:
        return False

    def _holder(self, handle: Handle) -> Backend:
        """Who knows of the file: once it was saved or removed here, the medium has no say in it."""
        with self._lock:
            return self._saved if handle in self._touched else self.inner
