"""What all object stores share: a file is an object, and its name is a prefix and restic's path."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import suppress

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.layout import handle_of, path_of
from icebrick.backend.remotefile import RemoteFile, load_file
from icebrick.errors import FileMissingError


class ObjectBackend(Backend):
    """Objects below `prefix`, which is empty or ends with a slash."""

    def __init__(self, prefix: str, *, location: str, connections: int) -> None:
        self.location = location
        self.connections = connections
        self._prefix = prefix

    def file(self, handle: Handle) -> RemoteFile:
        """The object of that name, whether it is there or not."""
        raise NotImplementedError

    def objects(self, prefix: str, doing: str) -> Iterator[tuple[str, int]]:
        """Keys that begin so, and sizes in bytes, page by page: none is asked for before the one before is used up.

        What they lie in may be missing: then there are none. `doing` is for messages.
        """
        raise NotImplementedError

    def key(self, handle: Handle) -> str:
        """The object's whole name."""
        return self._prefix + path_of(handle)

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        return load_file(self.file(handle), offset, length)

    def stat(self, handle: Handle) -> FileInfo:
        return self.file(handle).examine()

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        if file_type is FileType.CONFIG:
            with suppress(FileMissingError):
                yield self.stat(Handle(file_type))
            return
        doing = f"list {file_type.value} at {self.location}"
        for key, size in self.objects(f"{self._prefix}{file_type.value}/", doing):
            handle = handle_of(key.removeprefix(self._prefix))
            if handle is not None:
                yield FileInfo(handle, size)


def clean_prefix(path: str) -> str:
    """As restic has it: no empty parts and no dots, with a slash at its end; empty for the top."""
    clean = posixpath.normpath(f"/{path}").lstrip("/")
    return f"{clean}/" if clean else ""
