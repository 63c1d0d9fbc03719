"""What must be the same before and after, found out without icebrick."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_BUFFER = 4 << 20
_NAMED = 3


class ProofError(Exception):
    """Something is not as it must be."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A device as a whole (SHA-256, hexadecimal), and every file in it as one line by its path."""

    device: str
    files: Mapping[str, str]


def device_digest(device: Path) -> str:
    """SHA-256 of all bytes of a device or a file, hexadecimal."""
    # Of a device what it holds itself, not what this host remembers of it; that wants aligned memory.
    past_the_cache = os.O_DIRECT if device.is_block_device() else 0
    digest = hashlib.sha256()
    with (
        os.fdopen(os.open(device, os.O_RDONLY | past_the_cache), "rb", buffering=0) as file,
        mmap.mmap(-1, _BUFFER) as memory,
        memoryview(memory) as buffer,
    ):
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """For each file and directory below `folder`: mode, owner, time of change, and content or link target."""
    return {str(path.relative_to(folder)): _describe(path) for path in folder.rglob("*")}


def _describe(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISREG(status.st_mode):
        content = device_digest(path)
    elif stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    else:
        content = ""
    return f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {status.st_mtime_ns} {content}"


def prove_same_files(expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    """ProofError that counts the differences and names the first ones."""
    different = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
    if different:
        raise ProofError(f"{len(different)} files differ, such as {', '.join(different[:_NAMED])}")


def prove_same_device(expected: str, device: Path) -> None:
    found = device_digest(device)
    if found != expected:
        raise ProofError(f"SHA-256 of {device} is {found}, not {expected}")


def used_bytes(folder: Path) -> int:
    """The sizes of all files below, in bytes."""
    return sum(os.lstat(path).st_size for path in folder.rglob("*") if not path.is_dir())
