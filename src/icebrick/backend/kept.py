"""Files of repositories, kept in a directory of this host: private, bounded, and believed only when their name says so.

    DIRECTORY/<digest of the location>/{index,snapshots,data}/<id>

All locations' files together have at most so many bytes; those that were not used for longest go first. Several
processes may use one directory. Whatever fails here costs time, never more: it is as if the file was not kept.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.layout import TEMP_MARK, is_id
from icebrick.backend.ranges import range_length
from icebrick.blockdev import Data

log = logging.getLogger(__name__)

KEPT_TYPES = (FileType.INDEX, FileType.SNAPSHOT, FileType.PACK)
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by icebrick; all below can be fetched again.\n"
_OURS = re.compile(r"[0-9a-f]{32}")
_LARGEST_PART = 4  # a file may take this part of the room, so that one does not turn out all others
_REFILL = 0.8  # so full it is when the oldest have gone


class KeptFiles:
    """Those of one location. Methods may be called from any thread; none raises an OSError."""

    def __init__(self, directory: Path, place: Path, limit: int) -> None:
        self._directory = directory
        self._place = place
        self._limit = limit
        self._lock = threading.Lock()  # guards the two below, and the making of room
        self._proven: set[Handle] = set()  # by this process
        self._room = 0  # so much may be written before it has to be looked again
        self._writable = True  # until the disk first refuses: nobody wants to be told for every file

    def load(self, handle: Handle, offset: int, length: int | None) -> bytes | None:
        """The range, or None when the file is not here. ShortReadError when the file ends before."""
        try:
            with self._path(handle).open("rb") as file:
                if not self._is_proven(handle):
                    return self._prove(handle, file.read(), offset, length)
                size = os.fstat(file.fileno()).st_size
                wanted = range_length(FileInfo(handle, size), offset, length)
                content = os.pread(file.fileno(), wanted, offset)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("cache op=load file=%s error=%s", handle, error.strerror)
            return None
        return content if len(content) == wanted else None

    def size(self, handle: Handle) -> int | None:
        """In bytes; None when the file is not here, or was not read by this process yet."""
        with suppress(OSError):
            return self._path(handle).stat().st_size if self._is_proven(handle) else None
        return None

    def names(self, file_type: FileType) -> set[str]:
        """Of the files of this type that are here."""
        with suppress(OSError):
            return set(filter(is_id, os.listdir(self._place / file_type.value)))
        return set()

    def store(self, handle: Handle, data: Data) -> bool:
        """False when it is not kept: what it holds does not give its name, it is too large, or the disk refuses it."""
        size = memoryview(data).nbytes
        if not self._writable or size > self._limit // _LARGEST_PART:
            return False
        if hashlib.sha256(data).hexdigest() != handle.name:
            return False
        try:
            self._make_room(size)
            self._write(self._path(handle), data)
        except OSError as error:
            log.warning("cache op=store file=%s error=%s: nothing more is kept", handle, error.strerror)
            self._writable = False
            return False
        with self._lock:
            self._proven.add(handle)
        return True

    def drop(self, handle: Handle) -> None:
        """It was not here: nothing happens."""
        with self._lock:
            self._proven.discard(handle)
        with suppress(OSError):
            self._path(handle).unlink()

    def _path(self, handle: Handle) -> Path:
        return self._place / handle.type.value / handle.name

    def _is_proven(self, handle: Handle) -> bool:
        with self._lock:
            return handle in self._proven

    def _prove(self, handle: Handle, content: bytes, offset: int, length: int | None) -> bytes | None:
        if hashlib.sha256(content).hexdigest() != handle.name:
            log.warning("cache file=%s damaged, removed", handle)
            self.drop(handle)
            return None
        with self._lock:
            self._proven.add(handle)
        os.utime(self._path(handle))  # used now: others go before
        return content[offset : offset + range_length(FileInfo(handle, len(content)), offset, length)]

    def _write(self, path: Path, data: Data) -> None:
        """Not synced: what a power cut leaves of it is no longer what its name says."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temp = path.with_name(f"{path.name}{TEMP_MARK}{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
            os.rename(temp, path)
        except BaseException:
            with suppress(OSError):
                temp.unlink()
            raise

    def _make_room(self, size: int) -> None:
        with self._lock:
            if self._room < size:
                self._room = self._limit - self._remove_oldest(size)
            self._room -= size

    def _remove_oldest(self, size: int) -> int:
        """Make room for so many bytes more, if they do not fit; how many there are then, of all locations."""
        files = sorted(_files_below(self._directory), key=lambda found: found[1].st_mtime)
        total = sum(status.st_size for _, status in files)
        most = self._limit if total + size <= self._limit else int(self._limit * _REFILL)
        for path, status in files:
            if total + size <= most:
                break
            with suppress(OSError):
                path.unlink()
                total -= status.st_size
        return total


def open_kept(directory: Path, location: str, limit: int) -> KeptFiles | None:
    """Those of a location, made if need be; None, with a warning, when the directory is not only ours to use."""
    place = directory / hashlib.sha256(location.encode()).hexdigest()[:32]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
            (place / "CACHEDIR.TAG").write_text(_TAG)
        status = place.lstat()
    except OSError as error:
        log.warning("no cache: cannot use %s: %s", place, error.strerror)
        return None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        log.warning("no cache: others may write to %s or read it", place)
        return None
    return KeptFiles(directory, place, limit)


def _files_below(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Of all locations; links are not followed."""
    for place in _entries(directory):
        if _OURS.fullmatch(place.name):
            for file_type in KEPT_TYPES:
                for path in _entries(place / file_type.value):
                    with suppress(OSError):
                        status = path.lstat()
                        if stat.S_ISREG(status.st_mode):
                            yield path, status


def _entries(directory: Path) -> list[Path]:
    with suppress(OSError):
        if not directory.is_symlink():
            return list(directory.iterdir())
    return []
