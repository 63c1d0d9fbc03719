"""A drill: a snapshot restored to what is thrown away again, compared, and its file system checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icebrick.cloud.base import Mode, Volume
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.filesystem.check import FileSystemCheck, check_file_system
from icebrick.parallel import Slots
from icebrick.progress import Progress
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.access import GIB, VolumeAccess
from icebrick.workflow.images import Images
from icebrick.workflow.receipts import ProofKind, Verification
from icebrick.workflow.report import Receipt, to_json
from icebrick.workflow.restore import VerificationError
from icebrick.workflow.restore_files import FilesReceipt
from icebrick.workflow.restoring.attributes import check_possible, spec_for
from icebrick.workflow.restoring.content import Content, VolumeDevices, open_content
from icebrick.workflow.restoring.encryption import sealing_of
from icebrick.workflow.scratch import scratch_device


@dataclass(frozen=True, slots=True)
class Drill:
    """What restoring a snapshot has shown."""

    receipt: Receipt | FilesReceipt
    file_system: FileSystemCheck

    @property
    def ok(self) -> bool:
        """A file system that was not checked is none that failed."""
        return not self.receipt.mismatches and self.file_system.clean is not False


class DrillGround:
    """Where drills take place: a new volume of the cloud, or a file of this host, for each."""

    def __init__(self, images: Images, slots: Slots, progress: Progress, ground: VolumeAccess | Path) -> None:
        self._images, self._slots, self._progress, self._ground = images, slots, progress, ground

    def drill(self, snapshot: Snapshot) -> Drill:
        """Nothing of it stays. IcebrickError when it could not take place, which proves nothing."""
        content = open_content(self._images, snapshot, FileRestoreOptions(), self._slots)
        with self._scratch(snapshot, content) as (devices, volume):
            content.fill_new(devices, volume, self._progress)
            try:
                receipt = content.verify(devices, volume, self._progress)
            except VerificationError as error:
                receipt = error.receipt
            # Last: a journal that is replayed makes it another one than was backed up.
            return Drill(receipt, _checked(devices, volume))

    @contextmanager
    def _scratch(self, snapshot: Snapshot, content: Content) -> Iterator[tuple[VolumeDevices, Volume]]:
        if isinstance(self._ground, Path):
            with scratch_device(self._ground, content.size) as devices:
                yield devices, Volume(str(self._ground), name="", status="", size=-(-content.size // GIB))
            return
        backed_up = self._images.record(snapshot).volume
        sealing = sealing_of(self._images, snapshot, None, drop=False)
        spec = spec_for(backed_up, content.size, {}, {})
        check_possible(self._ground.cloud, spec)
        with self._ground.scratch(spec) as volume:
            sealing.check(volume)
            yield sealing.devices(self._ground, volume, new=True), volume


def _checked(devices: VolumeDevices, volume: Volume) -> FileSystemCheck:
    with devices.device(volume, Mode.WRITE) as device:
        if device.block_path is None:
            return FileSystemCheck(None, None, "the storage shows this host a file, and no device")
        return check_file_system(device.block_path)


def verification_of_drill(snapshot: Snapshot, drill: Drill) -> Verification:
    """What is kept of it."""
    details: dict[str, Any] = {"receipt": to_json(drill.receipt), "file_system": to_json(drill.file_system)}
    return Verification(
        snapshot_id=snapshot.id or "",
        kind=ProofKind.DRILL,
        verified=datetime.now(UTC),
        ok=drill.ok,
        digest=drill.receipt.digest,
        details=details,
    )
