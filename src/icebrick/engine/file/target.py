"""Entries of open directories, by their names: nothing here follows a link or leaves the directory it is given.

A directory may be changed by others meanwhile: what was looked at may be something else when it is opened. So every
step is one system call relative to a descriptor, and what came of it is looked at by its descriptor.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from icebrick.engine.file.base import MAX_DEPTH, Problem
from icebrick.engine.file.outcome import reason
from icebrick.errors import FileSystemError
from icebrick.kernel import OPENAT2, system_call

Identity = tuple[int, int]
"""Of an inode: device and number."""

# <linux/openat2.h>
_NO_OTHER_MOUNT, _NO_MAGIC_LINKS, _NO_SYMLINKS, _BENEATH = 0x1, 0x2, 0x4, 0x8

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino


def find_entry(directory: int, name: str) -> os.stat_result | None:
    """Of the entry itself; None when there is none."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_directory(directory: int, name: str) -> int:
    return os.open(name, DIRECTORY, dir_fd=directory)


def open_parent(directory: int, expected: Identity) -> int:
    """FileSystemError when the directory has been moved to another."""
    parent = os.open("..", DIRECTORY, dir_fd=directory)
    if identity(os.fstat(parent)) != expected:
        os.close(parent)
        raise FileSystemError("the directory was moved while it was worked on")
    return parent


@contextmanager
def pinned(directory: int, name: str) -> Iterator[str]:
    """A path that leads to exactly this entry, whatever it is, and whatever happens to its name."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def link_entry(root: int, path: tuple[str, ...], directory: int, name: str, *, expected: Identity) -> None:
    """Give the entry at `path` below `root` another name; FileSystemError when it is not the inode it was."""
    parent = _open_beneath(root, "/".join(path[:-1]) or ".", DIRECTORY, 0)
    try:
        os.link(path[-1], name, src_dir_fd=parent, dst_dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(parent)
    if identity(os.stat(name, dir_fd=directory, follow_symlinks=False)) != expected:
        os.unlink(name, dir_fd=directory)
        raise FileSystemError("the file it is a hard link to was exchanged meanwhile")


def remove_entry(directory: int, name: str, path: str, depth: int = 0) -> Iterator[Problem]:
    """Remove an entry, a directory with all in it; what cannot be removed, or lies on another mount, stays."""
    try:
        found = find_entry(directory, name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            yield from _remove_directory(directory, name, path, depth)
        elif found is not None:
            os.unlink(name, dir_fd=directory)
    except OSError as error:
        yield Problem(path, f"cannot be removed: {reason(error)}")


def _remove_directory(directory: int, name: str, path: str, depth: int) -> Iterator[Problem]:
    if depth == MAX_DEPTH:
        yield Problem(path, f"cannot be removed: more than {MAX_DEPTH} directories deep")
        return
    child = _open_beneath(directory, name, DIRECTORY, _NO_OTHER_MOUNT)
    try:
        for entry in os.listdir(child):
            yield from remove_entry(child, entry, f"{path}/{entry}", depth + 1)
    finally:
        os.close(child)
    os.rmdir(name, dir_fd=directory)


def _open_beneath(directory: int, path: str, flags: int, resolve: int) -> int:
    """`path` may have several components, none of them a link; it must stay below `directory`."""
    how = struct.pack("=QQQ", flags, 0, resolve | _BENEATH | _NO_SYMLINKS | _NO_MAGIC_LINKS)
    return system_call(OPENAT2, directory, os.fsencode(path), how, len(how))
