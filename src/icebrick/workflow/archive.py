"""A directory of a snapshot as a tar archive (POSIX pax), with owners, times, hard links and extended attributes."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable

from icebrick.blockdev import Data
from icebrick.engine.file.base import Problem
from icebrick.errors import CorruptDataError, UsageError
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.timestamp import NANOSECONDS
from icebrick.repository.tree import Node, st_mode
from icebrick.repository.treecache import TreeCache
from icebrick.workflow.browse import Found, Search, content_size, dump_content

_TYPES = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "dev": tarfile.BLKTYPE,
    "chardev": tarfile.CHRTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_ATTRIBUTE = "SCHILY.xattr."  # as GNU tar and bsdtar have them


def dump_archive(directory: Found, store: BlobStore, write: Callable[[Data], None]) -> list[Problem]:
    """Hand the archive to `write`; what tar has no form for is left out, and returned.

    CorruptDataError when something cannot be read: the archive has no end then. UsageError for what is no directory.
    """
    if directory.node.type != "dir":
        raise UsageError(f"{directory.shown} is no directory, but a {directory.node.type}")
    archive = _Archive(store, write)
    search = Search(TreeCache(store))
    if directory.path:
        archive.add(directory)
    for found in search.below(directory):
        archive.add(found)
    for problem in search.problems:
        raise CorruptDataError(f"{problem.path} cannot be read: {problem.reason}")
    write(bytes(2 * tarfile.BLOCKSIZE))
    return archive.left_out


class _Archive:
    def __init__(self, store: BlobStore, write: Callable[[Data], None]) -> None:
        self._store, self._write = store, write
        self._first_names: dict[tuple[int, int, str], str] = {}  # of files that have several
        self.left_out: list[Problem] = []

    def add(self, found: Found) -> None:
        """Write an entry, and the content of a file."""
        node, name = found.node, "/".join(found.path)
        if node.type not in _TYPES:
            self.left_out.append(Problem(found.shown, f"a tar archive cannot hold a {node.type}"))
            return
        try:
            entry = _entry(name, node)
            first = self._first_name(node, name)
            if first != name:
                entry.type, entry.linkname = tarfile.LNKTYPE, first
            elif entry.isreg():
                entry.size = content_size(node, self._store)
            header = entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        except (ValueError, OverflowError) as error:
            self.left_out.append(Problem(found.shown, f"a tar archive cannot hold it: {error}"))
            return
        self._write(header)
        if entry.isreg():
            dump_content(node, self._store, self._write)
            self._write(bytes(-entry.size % tarfile.BLOCKSIZE))

    def _first_name(self, node: Node, name: str) -> str:
        """Of the same file in this archive."""
        # restic does not keep the number of links of fifos: it is 0
        if node.type == "dir" or node.links == 1 or not node.inode:
            return name
        return self._first_names.setdefault((node.device_id, node.inode, node.type), name)


def _entry(name: str, node: Node) -> tarfile.TarInfo:
    """Without a size; ValueError for a kind of file that Unix does not know."""
    entry = tarfile.TarInfo(name)
    entry.type = _TYPES[node.type]
    entry.mode = stat.S_IMODE(st_mode(node.mode))
    entry.uid, entry.gid, entry.uname, entry.gname = node.uid, node.gid, node.user, node.group
    entry.mtime = node.mtime.ns // NANOSECONDS
    entry.pax_headers = {"mtime": _decimal(node.mtime.ns)}
    entry.linkname = node.linktarget
    if node.type in ("dev", "chardev"):
        entry.devmajor, entry.devminor = os.major(node.device), os.minor(node.device)
    for attribute in node.extended_attributes:
        entry.pax_headers[_ATTRIBUTE + attribute.name] = attribute.value.decode("utf-8", "surrogateescape")
    return entry


def _decimal(ns: int) -> str:
    """Seconds; as a float they would lose some."""
    seconds, fraction = divmod(abs(ns), NANOSECONDS)
    return f"{'-' if ns < 0 else ''}{seconds}.{fraction:09d}"
