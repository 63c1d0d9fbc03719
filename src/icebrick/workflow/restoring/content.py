"""What a snapshot holds of a volume, in whichever mode: how a volume is given it, and how that is proven."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from icebrick.attach.base import HostDevice
from icebrick.blockdev import BlockSource, BlockTarget, Extent
from icebrick.cloud.base import Mode, Volume
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.restore import restore_image
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.filesystem.make import check_native
from icebrick.parallel import Slots
from icebrick.progress import Progress
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.images import Images
from icebrick.workflow.report import Receipt
from icebrick.workflow.restore import Restorable, verify
from icebrick.workflow.restore_files import FilesReceipt, find_files
from icebrick.workflow.restoring.files import VolumeFiles
from icebrick.workflow.restoring.outcome import Filled, FilledFiles


class VolumeDevices(Protocol):
    """How a volume's bytes are got at on this host; `VolumeAccess` is the cloud's."""

    def device(self, volume: Volume, mode: Mode) -> AbstractContextManager[HostDevice]:
        """Attached, for others to open too."""

    def readable(self, volume: Volume, *, direct: bool = False) -> AbstractContextManager[BlockSource]:
        """Attached, to be read; with `direct`, from the device and not from this host's memory."""

    def writable(self, volume: Volume) -> AbstractContextManager[BlockTarget]:
        """Attached, to be written."""


class Content(Protocol):
    """Each method attaches the volume anew, and has let go of it on return. All in the slots of the run."""

    @property
    def size(self) -> int:
        """How many bytes a volume must have for it."""

    def fill(self, access: VolumeDevices, volume: Volume, progress: Progress) -> Filled | FilledFiles:
        """Make a volume hold this, durably, that may hold something now. Of that, only files can be meant to stay."""

    def fill_new(self, access: VolumeDevices, volume: Volume, progress: Progress) -> Filled | FilledFiles:
        """The same of a volume that is new and empty."""

    def verify(self, access: VolumeDevices, volume: Volume, progress: Progress) -> Receipt | FilesReceipt:
        """Read the volume back from the storage and compare. VerificationError when anything differs."""


def open_content(images: Images, snapshot: Snapshot, options: FileRestoreOptions, slots: Slots) -> Content:
    """RepositoryError when there is none of a volume in the snapshot, CorruptDataError when it is damaged.

    FileSystemError for the files of a file system that nothing here writes.
    """
    files = find_files(images.store, snapshot)
    if files.root is not None:
        file_system = images.file_system(snapshot)
        check_native(file_system)
        return VolumeFiles(files, file_system, options, slots)
    return _Image(Restorable(snapshot, images.find(snapshot), images), BlockOptions(slots=slots))


@dataclass(frozen=True, slots=True)
class _Image(Content):
    """All blocks of the volume."""

    restorable: Restorable
    options: BlockOptions

    @property
    def size(self) -> int:
        return self.restorable.image.size

    def fill(self, access: VolumeDevices, volume: Volume, progress: Progress) -> Filled:
        with access.writable(volume) as target:
            return self._write(target, progress)

    fill_new = fill  # what differs is written: nothing does but data

    def verify(self, access: VolumeDevices, volume: Volume, progress: Progress) -> Receipt:
        # Attached anew, so that no cache of this host can answer instead of the storage.
        with access.readable(volume, direct=True) as source:
            return verify(self.restorable, source, volume.id, progress, options=self.options)

    def _write(self, target: BlockTarget, progress: Progress) -> Filled:
        """The image, and zeros behind its end: a volume that has grown since must not keep what was written there."""
        image, store = self.restorable.image, self.restorable.images.store
        stats = restore_image(image, store, target, options=self.options, progress=progress)
        if target.size > image.size:
            target.discard(Extent(image.size, target.size - image.size))
            target.flush()
        return Filled(stats.size, stats.written, stats.discarded, stats.matching)
