"""What the kernel asks for, answered from a view. The names of the methods are libfuse's."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from icebrick.errors import IcebrickError
from icebrick.mount.files import OpenFile
from icebrick.mount.view import Entry, View
from icebrick.repository.tree import st_mode

log = logging.getLogger(__name__)

_ANSWER = {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255}


class Operations:
    """Called from many threads of libfuse. Whatever cannot be read is an I/O error there, and told in the log here."""

    use_ns = True
    """Times are in nanoseconds."""

    def __init__(self, view: View, *, ready: Callable[[], None], leave: Callable[[], None]) -> None:
        """`ready` is called when the kernel asks for the first time; `leave` ends the mount, from within an answer."""
        self._view, self._ready, self._leave = view, ready, leave
        self._numbers = itertools.count(1)
        self._files: dict[int, OpenFile] = {}
        self._guard = threading.Lock()  # guards _numbers and _files
        self.is_ending = False
        """Set to leave with the next call of `statfs`."""

    def init(self, _path: str) -> None:
        self._ready()

    def getattr(self, path: str, _file: int | None = None) -> dict[str, int]:
        with _answered(path):
            return _attributes(self._view.find(path))

    def readlink(self, path: str) -> str:
        with _answered(path):
            return self._view.find(path).node.linktarget

    def readdir(self, path: str, _file: int) -> Iterator[Any]:
        with _answered(path):
            listed = list(self._view.list(path))
        yield from (".", "..")
        for entry in listed:
            yield entry.node.name, {"st_mode": _kind(entry), "st_ino": entry.inode}, 0

    def listxattr(self, path: str) -> list[str]:
        with _answered(path):
            return [attribute.name for attribute in self._view.find(path).node.extended_attributes]

    def getxattr(self, path: str, name: str, _position: int = 0) -> bytes:
        with _answered(path):
            for attribute in self._view.find(path).node.extended_attributes:
                if attribute.name == name:
                    return attribute.value
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))

    def open(self, path: str, _flags: int) -> int:
        with _answered(path):
            file = self._view.open(path)
        with self._guard:
            number = next(self._numbers)
            self._files[number] = file
        return number

    def read(self, path: str, size: int, offset: int, number: int) -> bytes:
        with _answered(path):
            return self._files[number].read(offset, size)

    def release(self, _path: str, number: int) -> int:
        with self._guard:
            self._files.pop(number, None)
        return 0

    def statfs(self, _path: str) -> dict[str, int]:
        if self.is_ending:
            self._leave()
        return _ANSWER


@contextmanager
def _answered(path: str) -> Iterator[None]:
    try:
        yield
    except (IcebrickError, ValueError) as error:  # ValueError: a kind of file that Unix does not know
        log.warning("path=%r cannot be read: %s", path, error)
        raise OSError(errno.EIO, os.strerror(errno.EIO)) from error


def _attributes(entry: Entry) -> dict[str, int]:
    node = entry.node
    size = len(os.fsencode(node.linktarget)) if node.type == "symlink" else node.size
    return {
        "st_mode": st_mode(node.mode),
        "st_ino": entry.inode,
        "st_nlink": node.links or 1,
        "st_uid": node.uid,
        "st_gid": node.gid,
        "st_rdev": node.device,
        "st_size": size,
        "st_blocks": -(-size // 512),
        "st_atime": node.atime.ns,
        "st_mtime": node.mtime.ns,
        "st_ctime": node.ctime.ns,
    }


def _kind(entry: Entry) -> int:
    """Unknown in a listing where that is not to be told; whoever looks closer is."""
    try:
        return st_mode(entry.node.mode)
    except ValueError:
        return 0
