"""How a file system is seen that may be hostile: listed directory by directory, read file by file.

The reader may be this host's kernel or a program in a virtual machine. Nothing it tells is believed: `screened` goes
over every listing, `check_numbers` over what is to be stored of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from icebrick.errors import FileSystemError
from icebrick.repository.tree import ExtendedAttribute

MAX_NAME = 255
"""Of a name, in bytes: NAME_MAX of all file systems that are backed up."""
MAX_SIZE = 16 << 40
"""Of a file, in bytes: ext4's own limit. The list of a sparse file's blobs grows with its size, so it has to be."""
MAX_ENTRIES = 2 << 20
"""Of one directory."""
MAX_DEPTH = 500
"""Of directories below each other: each one on the way is open."""
MAX_ATTRIBUTES = 1 << 20
"""Of an entry's extended attributes together, in bytes: they become part of the directory's tree."""
KINDS = frozenset(
    {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK},
)
"""Of st_mode: all that restic can store."""
_UNSIGNED_32, _UNSIGNED_64 = 1 << 32, 1 << 64
_FORBIDDEN = frozenset({"", ".", ".."})


class Entry(NamedTuple):
    """What `lstat` tells of one entry; a tuple because there are millions, made one by one.

    Bytes of the name that are not UTF-8 are held by surrogateescape. `mode` is st_mode: kind and permissions.
    `device` tells inode numbers apart that mean different files; it is 0 where one file system has but one set of
    inodes, else it is the same each time the file system is read.
    """

    name: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int = 0
    links: int = 1
    size: int = 0
    rdev: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not in the backup, or not in full: where, from the root of the file system on, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All of one directory: entries in any order, and what could not be told, by name."""

    entries: list[Entry]
    problems: tuple[Problem, ...] = ()


class FileContent(Protocol):
    """An open regular file, read from its start to its end by one thread."""

    def hole(self) -> int:
        """How many bytes from here on are known to be zeros without reading them; 0 when that is not known."""

    def skip(self, count: int) -> None:
        """Go on behind `count` bytes of a hole."""

    def read_into(self, buffer: memoryview) -> int:
        """The next bytes; fewer than the buffer holds only at the end of the file. FileSystemError."""

    def attributes(self) -> tuple[ExtendedAttribute, ...]:
        """As `Directory.attributes`."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Directory(Protocol):
    """An open directory. Names are those its listing told; every method may be called from any thread.

    What cannot be read is a FileSystemError that gives the reason, not the path: the caller knows where it is. When
    nothing more can be read at all, as the reader itself is gone, that is a ReaderError.
    Symbolic links are never followed, and no file system is entered that is mounted below.
    """

    @property
    def entry(self) -> Entry:
        """Of the directory itself; the root's name is empty."""

    def list(self) -> Listing:
        """Without "." and ".."."""

    def attributes(self, name: str = "") -> tuple[ExtendedAttribute, ...]:
        """All extended attributes, ACLs and capabilities among them, of an entry or of the directory itself."""

    def link_target(self, name: str) -> str:
        """Where a symbolic link points to."""

    def open_directory(self, name: str) -> Directory:
        """To be closed by the caller; this one may be closed before."""

    def expect(self, files: Sequence[Entry]) -> None:
        """A hint: these regular files will be opened next, in this order, before the directory is closed."""

    def open_file(self, name: str) -> FileContent:
        """A regular file; whatever else has taken its place meanwhile is refused."""

    def close(self) -> None: ...


class FileTree(Protocol):
    """The whole of one file system."""

    def open_root(self) -> Directory:
        """To be closed by the caller."""


def screened(listing: Listing) -> Listing:
    """The listing, sorted by the bytes of the names; names and kinds that no file can have become problems."""
    entries = listing.entries
    names = [entry.name for entry in entries]
    joined = "/".join(names)
    if entries and _suspicious(entries, names, joined):
        return _sifted(listing)
    return Listing(sorted(entries, key=None if joined.isascii() else _name_bytes), listing.problems)


def _name_bytes(entry: Entry) -> bytes:
    return os.fsencode(entry.name)


def _suspicious(entries: Sequence[Entry], names: Sequence[str], joined: str) -> bool:
    """Whether each entry must be looked at; told by all of them together, as this is asked of every directory."""
    return (
        joined.count("/") >= len(names)
        or "\0" in joined
        or not _encodable(joined)
        or not _FORBIDDEN.isdisjoint(names)
        or len(set(names)) < len(names)
        or max(map(len, names)) > MAX_NAME // 4
        or not KINDS.issuperset(map(stat.S_IFMT, {entry.mode for entry in entries}))
    )


def _sifted(listing: Listing) -> Listing:
    kept: dict[str, Entry] = {}
    problems = list(listing.problems)
    for entry in listing.entries:
        reason = "a second entry of this name" if entry.name in kept else _objection_to_name(entry)
        if reason is None:
            kept[entry.name] = entry
        else:
            shown = entry.name[:MAX_NAME].encode("utf-8", "replace").decode().replace("/", "?")
            problems.append(Problem(shown, reason))
    return Listing(sorted(kept.values(), key=_name_bytes), tuple(problems))


def _objection_to_name(entry: Entry) -> str | None:
    name = entry.name
    if name in _FORBIDDEN or "/" in name or "\0" in name or not _encodable(name):
        return "no name that a file can have"
    if len(os.fsencode(name)) > MAX_NAME:
        return f"a name of more than {MAX_NAME} bytes"
    if stat.S_IFMT(entry.mode) not in KINDS:
        return f"an unknown kind of file: mode {entry.mode:#o}"
    return None


def _encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def check_numbers(entry: Entry) -> None:
    """FileSystemError when a listing told numbers that no file can have, or that would not fit into a tree."""
    _, _, uid, gid, _, _, inode, device, links, size, rdev = entry
    if size > MAX_SIZE:
        raise FileSystemError(f"larger than files may be: {size} bytes")
    if min(uid, gid, inode, device, links, size, rdev) < 0:
        raise FileSystemError("negative numbers, which no file can have")
    if max(uid, gid) >= _UNSIGNED_32 or max(inode, device, links, rdev) >= _UNSIGNED_64:
        raise FileSystemError("numbers larger than any file can have")
