"""What is read again and again, kept on this host."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from icebrick.backend.base import Backend, BackendWrapper, FileInfo, FileType, Handle
from icebrick.backend.kept import KeptFiles
from icebrick.backend.ranges import range_length
from icebrick.blockdev import Data

LARGEST_PACK = 64 << 20
"""In bytes; of longer packs only what is asked for is fetched, as all of one is in memory while it is."""
_STRIPES = 16


class CacheBackend(BackendWrapper):
    """Index files, snapshots and packs of trees come from `kept` when they are there, and go there when they are not.

    Of a pack of trees all is fetched with the first part: the others follow. What has another content than its name
    says is not kept, and passed on as it is, for its reader to judge. That a file which is kept is gone from the
    medium is known after the next listing. Who wants to know what the medium has must not use this.
    """

    def __init__(self, inner: Backend, kept: KeptFiles) -> None:
        super().__init__(inner)
        self._kept = kept
        self._fetching = [threading.Lock() for _ in range(_STRIPES)]  # of one file, one thread fetches it for all
        self._refused: set[Handle] = set()  # that cannot be kept; only ever added to

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        if not _is_kept(handle) or handle in self._refused:
            return self.inner.load(handle, offset=offset, length=length)
        found = self._kept.load(handle, offset, length)
        return self._fetch(handle, offset, length) if found is None else found

    def stat(self, handle: Handle) -> FileInfo:
        size = self._kept.size(handle) if handle.trees else None
        return self.inner.stat(handle) if size is None else FileInfo(handle, size)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        gone = self._kept.names(file_type)
        for info in self.inner.list_files(file_type):
            gone.discard(info.handle.name)
            yield info
        for name in gone:
            self._kept.drop(Handle(file_type, name))

    def save(self, handle: Handle, data: Data) -> None:
        self._kept.drop(handle)
        self.inner.save(handle, data)
        if _is_kept(handle):
            self._kept.store(handle, data)

    def remove(self, handle: Handle) -> None:
        self._kept.drop(handle)
        self.inner.remove(handle)

    def _fetch(self, handle: Handle, offset: int, length: int | None) -> bytes:
        with self._fetching[hash(handle) % _STRIPES]:
            found = self._kept.load(handle, offset, length)
            if found is not None:
                return found
            if handle in self._refused or (handle.trees and self.inner.stat(handle).size > LARGEST_PACK):
                self._refused.add(handle)
                return self.inner.load(handle, offset=offset, length=length)
            content = self.inner.load(handle)
            if not self._kept.store(handle, content):
                self._refused.add(handle)
        return content[offset : offset + range_length(FileInfo(handle, len(content)), offset, length)]


def _is_kept(handle: Handle) -> bool:
    return handle.type in (FileType.INDEX, FileType.SNAPSHOT) or handle.trees
