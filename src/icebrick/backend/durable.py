"""Files and directories that are still there, and whole, after a power cut. Errors are OSErrors."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from icebrick.backend.layout import TEMP_MARK
from icebrick.blockdev import Data

# SMB and some FUSE file systems cannot sync a directory, or anything; there is nothing stronger to ask of them.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP})


def replace_file(path: Path, data: Data, *, mode: int) -> None:
    """Put `data` under `path`: all of it or, after an error, what was there before.

    Only when syncing the directory fails is the new file in place although this raises.
    """
    temp = path.with_name(f"{path.name}{TEMP_MARK}{secrets.token_hex(8)}")
    with ExitStack() as undo:
        undo.callback(_unlink_quietly, temp)
        _write_synced(temp, data, mode=mode)
        os.rename(temp, path)
        undo.pop_all()
    sync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Make sure there is no file under `path`."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    # Also when it was gone: the process that removed it may have been killed before its sync.
    with suppress(FileNotFoundError):
        sync_directory(path.parent)


def make_directories(paths: Iterable[Path], *, mode: int) -> None:
    """Make those that are missing; each one's parent comes before it, or exists. All are durable on return."""
    parents = set()
    for path in paths:
        with suppress(FileExistsError):
            os.mkdir(path, mode)
        parents.add(path.parent)
    # Also for those that existed: whoever made them may not have got as far as this.
    for parent in parents:
        sync_directory(parent)


def missing_directories(path: Path) -> list[Path]:
    """`path` and those above it that do not exist, topmost first."""
    return [one for one in (*reversed(path.parents), path) if not one.exists()]


def sync_directory(path: Path) -> None:
    """The names in the directory are durable on return."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(fd)
    finally:
        os.close(fd)


def _write_synced(path: Path, data: Data, *, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(fd, rest) :]
        with suppress(PermissionError):  # file systems without modes refuse; the content is what matters
            os.fchmod(fd, mode)
        _sync(fd)
    finally:
        os.close(fd)


def _sync(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _unlink_quietly(path: Path) -> None:
    with suppress(OSError):  # the error that brought us here is the one to tell
        os.unlink(path)
