"""Whether the whole of a device is one file system that can be backed up file by file.

Told by blkid's low-level probing, which looks at signatures and mounts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from icebrick.errors import FileSystemError
from icebrick.filesystem.base import TYPES, FileSystem, Unsuitable, device_size
from icebrick.filesystem.programs import run_program
from icebrick.filesystem.superblock import SUPERBLOCKS, read_superblock

_NOTHING_FOUND, _AMBIVALENT = "nothing that blkid knows", "signatures of several things"
_USAGES = {"raid": "a part of a RAID or a volume group", "crypto": "encrypted data", "other": "no file system"}


def detect(device: str, types: Collection[str] = TYPES) -> FileSystem | Unsuitable:
    """What is on a block device or in an image file, if of these types; FileSystemError when it cannot be read."""
    try:
        size = device_size(device)
        found = _probe(device, types)
        if isinstance(found, Unsuitable):
            return found
        file_system = read_superblock(found, _read(device, *SUPERBLOCKS[found]))
    except OSError as error:
        raise FileSystemError(f"cannot read {device}: {error.strerror}") from error
    except ValueError as error:
        raise FileSystemError(f"{device} changed while it was looked at: {error}") from error
    if isinstance(file_system, FileSystem) and file_system.size > size:
        return Unsuitable(f"a file system ({found}) of {file_system.size} bytes, of which only {size} are there")
    return file_system


def _probe(device: str, types: Collection[str]) -> str | Unsuitable:
    """The file system's type."""
    output = run_program(["blkid", "--probe", "--output", "export", device], accept=(0, 2, 8))
    tags = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    file_system, usage = tags.get("TYPE", ""), tags.get("USAGE", "")
    if "PTTYPE" in tags:
        return Unsuitable(f"a partition table ({tags['PTTYPE']})")
    if not file_system:
        return Unsuitable(_AMBIVALENT if "ambivalent" in output else _NOTHING_FOUND)
    if usage != "filesystem":
        return Unsuitable(f"{_USAGES.get(usage, 'no file system')} ({file_system})")
    if file_system not in types:
        return Unsuitable(f"a file system of type {file_system}, not of {', '.join(types)}")
    return file_system


def _read(device: str, offset: int, length: int) -> bytes:
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)
