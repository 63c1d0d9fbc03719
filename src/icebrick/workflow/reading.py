"""How a frozen volume is read: file by file where that is asked for and possible, else as an image of blocks.

An image must be, to the byte, what was frozen. But mounting a file system writes to it, as its journal is replayed,
even when it is mounted read-only. So a clone is looked at through an attachment that cannot be written, and an image
is read through that one. So are files by a reader that writes elsewhere; for one that mounts the clone itself it is
attached anew, to be written. If it then cannot be mounted after all, that clone is spoilt, and the image is read from
another one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icebrick.cloud.base import Mode
from icebrick.errors import FileSystemError, ReaderError
from icebrick.filesystem.base import TYPES
from icebrick.filesystem.make import check_can_make
from icebrick.progress import Progress
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.readers import FileReader, NoFiles, find_file_system
from icebrick.workflow.report import SavedSnapshot
from icebrick.workflow.saving import Saver, SnapshotSpec

if TYPE_CHECKING:
    from icebrick.attach.base import HostDevice
    from icebrick.cloud.base import VolumeSnapshot
    from icebrick.workflow.access import VolumeAccess
    from icebrick.workflow.encryption import StoredEncryption
    from icebrick.workflow.restoring.content import VolumeDevices

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """One volume's way from a volume snapshot into the repository."""

    snapshot: VolumeSnapshot
    access: VolumeAccess
    saver: Saver
    spec: SnapshotSpec
    progress: Progress
    devices: VolumeDevices
    """How clones are opened: as they are stored, or what is in them."""

    def of_encryption(self, stored: StoredEncryption) -> Reading:
        """With a record that tells in which form the volume is read."""
        assert self.spec.record is not None, "volumes have records"
        return replace(self, spec=replace(self.spec, record=replace(self.spec.record, encryption=stored)))

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
            self.devices.readable(clone, direct=True) as source,
        ):
            return self.saver.save_image(source, self.spec, self.progress)

    def _save_files(self) -> SavedSnapshot:
        with (
            self.access.cloned(self.snapshot) as clone,
            self.devices.device(clone, self.reader.mode) as device,
        ):
            try:
                return self._save_tree(device, self.reader.types)
            except NoFiles as error:
                raise FileSystemError(
                    f"volume {self.snapshot.volume_id} cannot be backed up file by file: {error}",
                    hint="Modes 'auto' and 'blocks' back it up as an image.",
                ) from error

    def _save_either(self) -> SavedSnapshot:
        with self.access.cloned(self.snapshot) as clone:
            with self.devices.device(clone, Mode.READ) as device:
                try:
                    check_can_make(find_file_system(device, TYPES))
                    if self.reader.mode is Mode.READ:
                        return self._save_tree(device, TYPES)
                except (NoFiles, FileSystemError, ReaderError) as error:
                    self._say(error)
                    with device.open_source(direct=True) as source:
                        saved = self.saver.save_image(source, self.spec, self.progress)
                    return replace(saved, mode_reason=str(error))
            try:
                with self.devices.device(clone, Mode.WRITE) as device:
                    return self._save_tree(device, TYPES)
            except NoFiles as error:
                self._say(error)
                reason = str(error)
        return replace(self._save_blocks(), mode_reason=reason)

    def _save_tree(self, device: HostDevice, types: Collection[str]) -> SavedSnapshot:
        """NoFiles before anything is saved, when that is not possible."""
        try:
            file_system = find_file_system(device, types)
        except FileSystemError as error:
            raise NoFiles(str(error)) from error
        with self.reader.opened(device, file_system) as tree:
            return self.saver.save_files(tree, file_system, self.spec, self.progress)

    @property
    def reader(self) -> FileReader:
        return self.access.reader

    def _say(self, reason: Exception) -> None:
        log.info("reading as blocks volume=%s: %s", self.snapshot.volume_id, reason)
