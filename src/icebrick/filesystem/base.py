"""What is known of a file system, and what is needed to make it again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

TYPES = ("ext4", "xfs", "btrfs")
"""Those that are backed up file by file, and made again."""
FOREIGN_TYPES = ("vfat", "ntfs")
"""Those that can only be read: nothing here makes them again as they were."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """`type` is one of `TYPES` or `FOREIGN_TYPES`; bytes of the label that are not UTF-8 are held by surrogateescape.

    `size` is in bytes. `settings` are numbers such as `block_size`, `features` what is switched on, in the words of
    the type's mkfs; `checksum` is btrfs's.
    """

    type: str
    label: str
    uuid: str
    size: int
    settings: Mapping[str, int] = field(default_factory=dict)
    features: frozenset[str] = frozenset()
    checksum: str = ""

    def __str__(self) -> str:
        return f"{self.type} {self.uuid}"


@dataclass(frozen=True, slots=True)
class Unsuitable:
    """Why a device cannot be backed up file by file, to be read behind 'the volume holds'."""

    reason: str


def device_size(path: str) -> int:
    """Of a block device or a file, in bytes; OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)
