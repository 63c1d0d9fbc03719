"""An archive as Linux unpacks it into memory when it starts: cpio's "newc".

The kernel's Documentation/driver-api/early-userspace/buffer-format.rst describes it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import PurePosixPath

_FILE, _DIRECTORY, _CONSOLE = stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755, stat.S_IFCHR | 0o600
_END = "TRAILER!!!"


def make_archive(files: Mapping[str, bytes], folders: tuple[str, ...] = ()) -> bytes:
    """Files by absolute path with all directories above them, further `folders`, and a console for the first program.

    The same bytes for the same content.
    """
    above = {str(parent) for path in files for parent in PurePosixPath(path).parents} | set(folders) | {"/dev"}
    archive = bytearray()
    for folder in sorted(above - {"/"}):
        _add(archive, folder, _DIRECTORY)
    _add(archive, "/dev/console", _CONSOLE, device=(5, 1))
    for path in sorted(files):
        _add(archive, path, _FILE, files[path])
    _add(archive, _END, 0)
    return bytes(archive)


def _add(archive: bytearray, path: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
    name = os.fsencode(path.removeprefix("/")) + b"\0"
    number = len(archive) + 1  # no two the same, or they would be links of one another
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
    archive += b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name
    _align(archive)
    archive += content
    _align(archive)


def _align(archive: bytearray) -> None:
    archive += bytes(-len(archive) % 4)
