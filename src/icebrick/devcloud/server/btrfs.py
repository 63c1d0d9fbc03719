"""The three btrfs calls the driver needs; their numbers and layout are those of linux/btrfs.h."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_SUBVOL_CREATE = 0x5000940E
_SNAP_CREATE = 0x50009401
_SNAP_DESTROY = 0x5000940F
_SUBVOLUME_INODE = 256


def is_btrfs(path: Path) -> bool:
    """Whether `path` lies on btrfs."""
    best = max(
        (fields for fields in _mounts() if path.is_relative_to(fields[1])),
        key=lambda fields: len(fields[1]),
        default=None,
    )
    return best is not None and best[2] == "btrfs"


def _mounts() -> list[list[str]]:
    return [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]


def is_subvolume(path: Path) -> bool:
    return path.stat().st_ino == _SUBVOLUME_INODE and is_btrfs(path)


def make_subvolume(path: Path) -> None:
    _call(path.parent, _SUBVOL_CREATE, 0, path.name)


def remove_subvolume(path: Path) -> None:
    _call(path.parent, _SNAP_DESTROY, 0, path.name)


@contextlib.contextmanager
def snapshot(subvolume: Path, name: str) -> Iterator[Path]:
    """All of `subvolume` as it is now, beside it under `name`, until the block ends."""
    source = os.open(subvolume, os.O_RDONLY)
    try:
        _call(subvolume.parent, _SNAP_CREATE, source, name)
    finally:
        os.close(source)
    try:
        yield subvolume.parent / name
    finally:
        remove_subvolume(subvolume.parent / name)


def _call(folder: Path, number: int, source: int, name: str) -> None:
    # A bytearray: an immutable argument may have at most 1024 bytes.
    argument = bytearray(struct.pack("=q4088s", source, os.fsencode(name)))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, number, argument)
    finally:
        os.close(descriptor)
