"""The files of a volume: put into the file system that it has, or into one made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icebrick.cloud.base import Mode, Volume
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.engine.file.restore import restore_files
from icebrick.errors import FileSystemError
from icebrick.filesystem.base import FileSystem, Unsuitable
from icebrick.filesystem.detect import detect
from icebrick.filesystem.make import make_file_system
from icebrick.filesystem.mount import mounted_for_reading, mounted_for_writing
from icebrick.parallel import Slots
from icebrick.progress import Progress
from icebrick.workflow.restore import VerificationError
from icebrick.workflow.restore_files import FilesReceipt, StoredFiles, compare_files
from icebrick.workflow.restoring.outcome import FilledFiles

if TYPE_CHECKING:
    from icebrick.workflow.restoring.content import VolumeDevices

_HINT = "With --recreate-vol-on-error the files are restored onto a new volume."


@dataclass(frozen=True, slots=True)
class VolumeFiles:
    """A `Content`. `options` are for a volume that has files already."""

    stored: StoredFiles
    file_system: FileSystem
    options: FileRestoreOptions
    slots: Slots

    @property
    def size(self) -> int:
        return self.file_system.size

    def fill(self, access: VolumeDevices, volume: Volume, progress: Progress) -> FilledFiles:
        """FileSystemError when the volume does not have a whole file system of the backup's type."""
        with _device(access, volume, Mode.WRITE) as path:
            self._check(detect(path), volume)
            return self._write(path, self.options, progress)

    def fill_new(self, access: VolumeDevices, volume: Volume, progress: Progress) -> FilledFiles:
        with _device(access, volume, Mode.WRITE) as path:
            make_file_system(path, self.file_system)
            return self._write(path, FileRestoreOptions(), progress)

    def verify(self, access: VolumeDevices, volume: Volume, progress: Progress) -> FilesReceipt:
        # Attached and mounted anew, so that this host remembers nothing of it. It was unmounted cleanly: there is no
        # journal to be replayed, so it can be mounted where nothing can be written.
        with (
            _device(access, volume, Mode.READ) as path,
            mounted_for_reading(path, self.file_system.type) as root,
        ):
            receipt = compare_files(self.stored, root, volume.id, progress, slots=self.slots)
        if receipt.mismatches:
            raise VerificationError(receipt)
        return receipt

    def _check(self, found: FileSystem | Unsuitable, volume: Volume) -> None:
        if isinstance(found, FileSystem) and found.type == self.file_system.type:
            return
        holds = found.reason if isinstance(found, Unsuitable) else f"a file system of type {found.type}"
        raise FileSystemError(
            f"volume {volume.id} holds {holds}, and the files of snapshot {self.stored.snapshot.id} belong into one of "
            f"type {self.file_system.type}",
            hint=_HINT,
        )

    def _write(self, path: str, options: FileRestoreOptions, progress: Progress) -> FilledFiles:
        with mounted_for_writing(path, self.file_system.type) as root:
            stored = self.stored
            stats = restore_files(
                stored.node(root), stored.store, root, options=options, slots=self.slots, progress=progress
            )
        return FilledFiles(
            restored=stats.restored,
            unchanged=stats.unchanged,
            kept=stats.kept,
            removed=stats.removed,
            bytes_written=stats.written,
            problems=stats.problems,
            first_problems=tuple(stats.first_problems),
        )


@contextmanager
def _device(access: VolumeDevices, volume: Volume, mode: Mode) -> Iterator[str]:
    """The path of the volume's block device."""
    with access.device(volume, mode) as device:
        if device.block_path is None:
            raise FileSystemError(
                f"volume {volume.id} is shown to this host as a file, which cannot be mounted",
                hint="'icebrick restore --target DIRECTORY' restores the files to this host.",
            )
        yield device.block_path
