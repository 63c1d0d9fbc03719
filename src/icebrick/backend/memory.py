"""A repository in memory, for tests and trials. It is gone with the object."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.ranges import range_length
from icebrick.blockdev import Data
from icebrick.errors import FileMissingError


class MemoryBackend(Backend):
    """Files in a dictionary."""

    def __init__(self) -> None:
        self.location = "mem:"
        self.connections = 4
        self._files: dict[Handle, bytes] = {}
        self._lock = threading.Lock()  # guards _files

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        content = self._content(handle)
        end = offset + range_length(FileInfo(handle, len(content)), offset, length)
        return content[offset:end]

    def stat(self, handle: Handle) -> FileInfo:
        return FileInfo(handle, len(self._content(handle)))

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        with self._lock:
            found = [FileInfo(handle, len(content)) for handle, content in self._files.items()]
        return (info for info in found if info.handle.type is file_type)

    def close(self) -> None:
        pass

    def save(self, handle: Handle, data: Data) -> None:
        content = bytes(data)
        with self._lock:
            self._files[handle] = content

    def remove(self, handle: Handle) -> None:
        with self._lock:
            self._files.pop(handle, None)

    def _content(self, handle: Handle) -> bytes:
        with self._lock:
            content = self._files.get(handle)
        if content is None:
            raise FileMissingError(f"{handle} is not in {self.location}")
        return content
