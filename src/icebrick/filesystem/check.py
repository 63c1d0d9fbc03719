"""Whether a file system is consistent, by the word of its own checker. Only for copies that are thrown away.

A hot backup is what a server finds after a power cut. Its journal has to be replayed first, as that server would do:
ext4's by e2fsck, which is a mere program; XFS's by the kernel, as nothing else can; btrfs is consistent without. What
then is wrong is told and not mended.
"""

from __future__ import annotations

from dataclasses import dataclass

from icebrick.errors import FileSystemError
from icebrick.filesystem.base import Unsuitable
from icebrick.filesystem.detect import detect
from icebrick.filesystem.mount import mounted_for_reading
from icebrick.filesystem.programs import try_program

SECONDS = 6 * 3600.0
"""A checker that takes longer has failed: what it reads is a tenant's."""

_CHECKERS = {
    "ext4": ("e2fsck", "-f", "-n"),
    "xfs": ("xfs_repair", "-n"),
    "btrfs": ("btrfs", "check", "--readonly"),
}


@dataclass(frozen=True, slots=True)
class FileSystemCheck:
    """`clean` is None when nothing was checked; `told` is then why, else the last words of the checker."""

    type: str | None
    clean: bool | None
    told: str


def check_file_system(device: str, *, seconds: float = SECONDS) -> FileSystemCheck:
    """What is all of a block device is checked, and a little changed by that.

    FileSystemError when the checker is missing or takes too long.
    """
    found = detect(device)
    if isinstance(found, Unsuitable):
        return FileSystemCheck(None, None, f"the volume holds {found.reason}")
    try:
        _replay(device, found.type, seconds)
    except FileSystemError as error:
        return FileSystemCheck(found.type, False, str(error))
    ended = try_program([*_CHECKERS[found.type], device], seconds=seconds)
    return FileSystemCheck(found.type, ended.code == 0, ended.last_words)


def _replay(device: str, file_system: str, seconds: float) -> None:
    """FileSystemError when the journal cannot be replayed: then the file system is not clean."""
    if file_system == "ext4":
        ended = try_program(["e2fsck", "-y", "-E", "journal_only", device], seconds=seconds)
        if ended.code not in (0, 1):  # 1: it was replayed
            raise FileSystemError(f"the journal cannot be replayed: {ended.last_words}")
    elif file_system == "xfs":
        with mounted_for_reading(device, file_system):
            pass
