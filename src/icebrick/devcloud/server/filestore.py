"""Volumes and volume snapshots as sparse files in one folder, copied by reflink where the file system can.

    POOL/volumes/volume-<id>        one raw file a volume
    POOL/snapshots/snapshot-<id>    one raw file a volume snapshot

A file appears under its name complete or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import btrfs

_FICLONE = 0x40049409
_NO_REFLINK = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)
_GROUP_VIEW = ".group-"


class FileStore:
    """The pool's files; sizes are in bytes. Concurrent calls must be about different files."""

    def __init__(self, pool: Path) -> None:
        self.pool = pool
        self.volumes = pool / "volumes"
        self.snapshots = pool / "snapshots"

    def open(self) -> None:
        """Make the folders, and remove what a killed process left unfinished."""
        if not self.volumes.exists() and btrfs.is_btrfs(self.pool):
            btrfs.make_subvolume(self.volumes)  # so that a group can be frozen as one
        for folder in (self.volumes, self.snapshots):
            folder.mkdir(exist_ok=True)
            for part in folder.glob("*.part"):
                part.unlink()
        for view in self.pool.glob(f"{_GROUP_VIEW}*"):
            btrfs.remove_subvolume(view)

    def volume(self, name: str) -> Path:
        return self.volumes / name

    def snapshot(self, name: str) -> Path:
        return self.snapshots / name

    def usage(self) -> tuple[int, int, int]:
        """Bytes of the pool's file system: total, free; and the sum of the volumes' sizes."""
        disk = shutil.disk_usage(self.pool)
        return disk.total, disk.free, sum(_size_if_there(path) for path in self.volumes.iterdir())

    def create(self, path: Path, size: int) -> None:
        with path.open("xb") as file:
            file.truncate(size)

    def copy(self, source: Path, target: Path, *, size: int = 0) -> None:
        """Make or replace `target` with the content of `source`, at least `size` bytes long."""
        part = target.with_name(f"{target.name}.part")
        try:
            if not _reflink(source, part):
                # Inheriting the lock that says that this devcloud is alive: `down` waits for it, should we be killed.
                command = ["cp", "--sparse=always", "--reflink=auto", str(source), str(part)]
                subprocess.run(command, check=True, capture_output=True, close_fds=False)
            if part.stat().st_size < size:
                os.truncate(part, size)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)

    def freezes(self) -> bool:
        """Whether `frozen` is of one instant."""
        return btrfs.is_subvolume(self.volumes)

    @contextlib.contextmanager
    def frozen(self, group_snapshot_id: str) -> Iterator[Path]:
        """A folder with all volumes of one instant; on file systems other than btrfs the live folder."""
        if not self.freezes():
            yield self.volumes
            return
        with btrfs.snapshot(self.volumes, f"{_GROUP_VIEW}{group_snapshot_id}") as view:
            yield view


def _size_if_there(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _reflink(source: Path, target: Path) -> bool:
    """Share the blocks of `source`; False where the file system cannot."""
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError as error:
            if error.errno in _NO_REFLINK:
                return False
            raise
    return True
