"""Where restic's default layout puts each file, as paths with slashes below the repository's root.

    config   keys/<id>   locks/<id>   snapshots/<id>   index/<id>   data/<first two digits>/<id>

An id is 64 lower-case hex digits. Whatever else lies in these places is no file of the repository: listings pass
it over, as restic does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from icebrick.backend.base import FileType, Handle

TEMP_MARK = "-tmp-"
"""Stands between a file's name and random digits while a save is under way; restic's local backend does the same."""

SFTP_TEMP_MARK = "-restic-temp-"
"""The same in restic's SFTP backend."""

STALE_AFTER = timedelta(days=1)
"""Age at which no save can still be using a temporary file: saving one file takes seconds, minutes at worst."""

_ID = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{2}")
_TEMPORARY = re.compile(rf"({FileType.CONFIG.value}|{_ID.pattern})({TEMP_MARK}|{SFTP_TEMP_MARK}).*", re.DOTALL)


def is_id(name: str) -> bool:
    """Whether `name` can be the name of a file other than config."""
    return _ID.fullmatch(name) is not None


def is_pack_directory(name: str) -> bool:
    """Whether `name` can be a directory below data/."""
    return _PREFIX.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    """Whether `name` is what a save calls its file until it is whole."""
    return _TEMPORARY.fullmatch(name) is not None


def path_of(handle: Handle) -> str:
    """The file's path; ValueError for a name that is no id, so that no name can lead out of the repository."""
    if handle.type is FileType.CONFIG and not handle.name:
        return str(handle)
    if handle.type is FileType.CONFIG or not is_id(handle.name):
        raise ValueError(f"not a name of a file in a repository: {handle}")
    if handle.type is FileType.PACK:
        return f"{handle.type.value}/{handle.name[:2]}/{handle.name}"
    return str(handle)


def handle_of(path: str) -> Handle | None:
    """The file whose path this is, or None: the inverse of `path_of`."""
    place, _, name = path.rpartition("/")
    if path == FileType.CONFIG.value:
        return Handle(FileType.CONFIG)
    if not is_id(name):
        return None
    if place == f"{FileType.PACK.value}/{name[:2]}":
        return Handle(FileType.PACK, name)
    if place in _FLAT_DIRECTORIES:
        return Handle(FileType(place), name)
    return None


def directories() -> Iterator[str]:
    """Every directory of a new repository, parents first."""
    yield from _FLAT_DIRECTORIES
    yield FileType.PACK.value
    for number in range(256):
        yield f"{FileType.PACK.value}/{number:02x}"


_FLAT_DIRECTORIES = tuple(kind.value for kind in FileType if kind not in {FileType.CONFIG, FileType.PACK})
