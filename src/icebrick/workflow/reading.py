"""How a frozen volume is read: file by file where that is asked for and possible, else as an image of blocks.

An image must be, to the byte, what was frozen. But mounting a file system writes to it, as its journal is replayed,
even when it is mounted read-only. So a clone is looked at through an attachment that cannot be written, and an image
is read through that one; only for a file system that is to be mounted is it attached anew, to be written. If it then
cannot be mounted after all, that clone is spoilt, and the image is read from another one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icebrick.cloud.base import Mode
from icebrick.engine.file.hosttree import HostTree
from icebrick.errors import FileSystemError
from icebrick.filesystem.base import FileSystem, Unsuitable
from icebrick.filesystem.detect import detect
from icebrick.filesystem.make import check_can_make
from icebrick.filesystem.mount import has_subvolumes, mounted_for_reading
from icebrick.progress import Progress
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.report import SavedSnapshot
from icebrick.workflow.saving import Saver, SnapshotSpec

if TYPE_CHECKING:
    from icebrick.attach.base import HostDevice
    from icebrick.cloud.base import Volume, VolumeSnapshot
    from icebrick.workflow.access import VolumeAccess

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """One volume's way from a volume snapshot into the repository."""

    snapshot: VolumeSnapshot
    access: VolumeAccess
    saver: Saver
    spec: SnapshotSpec
    progress: Progress

    def save(self, mode: BackupMode) -> SavedSnapshot:
        """FileSystemError when the mode is files, and that is not possible."""
        match mode:
            case BackupMode.BLOCKS:
                return self._save_blocks()
            case BackupMode.FILES:
                return self._save_files()
            case BackupMode.AUTO:
                return self._save_either()

    def _save_blocks(self) -> SavedSnapshot:
        with (
            self.access.cloned(self.snapshot) as clone,
            # Read once, so it would only push out what others cached.
            self.access.readable(clone, direct=True) as source,
        ):
            return self.saver.save_image(source, self.spec, self.progress)

    def _save_files(self) -> SavedSnapshot:
        with self.access.cloned(self.snapshot) as clone:
            try:
                return self._save_mounted(clone)
            except _NoFiles as error:
                raise FileSystemError(
                    f"volume {self.snapshot.volume_id} cannot be backed up file by file: {error}",
                    hint="Modes 'auto' and 'blocks' back it up as an image.",
                ) from error

    def _save_either(self) -> SavedSnapshot:
        with self.access.cloned(self.snapshot) as clone:
            with self.access.device(clone, Mode.READ) as device:
                try:
                    check_can_make(_find_file_system(device))
                except (_NoFiles, FileSystemError) as error:
                    self._say(error)
                    with device.open_source(direct=True) as source:
                        saved = self.saver.save_image(source, self.spec, self.progress)
                    return replace(saved, mode_reason=str(error))
            try:
                return self._save_mounted(clone)
            except _NoFiles as error:
                self._say(error)
                reason = str(error)
        return replace(self._save_blocks(), mode_reason=reason)

    def _save_mounted(self, clone: Volume) -> SavedSnapshot:
        """_NoFiles before anything is saved, when that is not possible."""
        with (
            self.access.device(clone, Mode.WRITE) as device,
            _mounted(device) as (file_system, root),
        ):
            return self.saver.save_files(HostTree(root), file_system, self.spec, self.progress)

    def _say(self, reason: Exception) -> None:
        log.info("reading as blocks volume=%s: %s", self.snapshot.volume_id, reason)


class _NoFiles(Exception):
    """Why a volume cannot be read file by file."""


def _find_file_system(device: HostDevice) -> FileSystem:
    """_NoFiles when there is none that is all of the device; FileSystemError when that cannot be told."""
    if device.block_path is None:
        raise _NoFiles("the storage shows this host a file, which cannot be mounted")
    found = detect(device.block_path)
    if isinstance(found, Unsuitable):
        raise _NoFiles(f"the volume holds {found.reason}")
    return found


@contextmanager
def _mounted(device: HostDevice) -> Iterator[tuple[FileSystem, int]]:
    """The file system, and a descriptor of its root; _NoFiles when it cannot be mounted."""
    with ExitStack() as stack:
        try:
            file_system = _find_file_system(device)
            assert device.block_path is not None, "what has a file system has a path"
            root = stack.enter_context(mounted_for_reading(device.block_path, file_system.type))
            if file_system.type == "btrfs" and has_subvolumes(root):
                raise _NoFiles("the volume holds a btrfs with subvolumes")
        except (FileSystemError, OSError) as error:
            raise _NoFiles(str(error)) from error
        yield file_system, root
