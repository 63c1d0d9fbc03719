"""Restoring: the bytes of a snapshot's image onto a device, and the proof that they are there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from icebrick.attach.device import create_image
from icebrick.blockdev import BlockSource
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.image import StoredImage
from icebrick.engine.block.restore import restore_image
from icebrick.engine.block.verify import verify_image
from icebrick.errors import IncompleteError, UsageError
from icebrick.progress import Progress
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.images import Images
from icebrick.workflow.report import Receipt, RestoreReport
from icebrick.workflow.restore_files import FilesReceipt


class VerificationError(IncompleteError):
    """What was read back is not what the backup has; the receipt says where."""

    def __init__(self, receipt: Receipt | FilesReceipt) -> None:
        super().__init__(
            f"{receipt.mismatches} of {receipt.compared} of {receipt.target} differ from "
            f"snapshot {receipt.snapshot_id}",
            hint="The device does not return what was written to it, or somebody else writes to it.",
        )
        self.receipt = receipt


@dataclass(frozen=True, slots=True)
class Restorable:
    """A snapshot and the image in it: what a restore starts from."""

    snapshot: Snapshot
    image: StoredImage
    images: Images


def restore_to_path(
    restorable: Restorable, path: Path, *, replace: bool, run_id: str, progress: Progress
) -> RestoreReport:
    """Make a sparse file of the image, or write it onto a block device, whose bytes behind the image's end stay.

    UsageError when there is something at `path` and it is not to be replaced, or a device is too small.
    """
    if path.is_block_device() and not replace:
        raise UsageError(f"{path} is a device", hint="With --force what it holds is overwritten.")
    with create_image(path, restorable.image.size, replace=replace) as target:
        stats = restore_image(restorable.image, restorable.images.store, target, progress=progress)
    return RestoreReport(
        run_id=run_id,
        snapshot_id=restorable.snapshot.id or "",
        target=str(path),
        size=stats.size,
        bytes_written=stats.written,
        bytes_discarded=stats.discarded,
        bytes_matching=stats.matching,
    )


def verify(
    restorable: Restorable, source: BlockSource, name: str, progress: Progress, *, options: BlockOptions | None = None
) -> Receipt:
    """Read the source back and compare. VerificationError, with the receipt, when anything differs."""
    started = datetime.now(UTC)
    stats = verify_image(restorable.image, restorable.images.store, source, options=options, progress=progress)
    receipt = Receipt(
        snapshot_id=restorable.snapshot.id or "",
        snapshot_time=restorable.snapshot.time.to_datetime(),
        target=name,
        size=stats.size,
        blocks=stats.blocks,
        zero_blocks=stats.zeros,
        mismatches=stats.mismatches,
        first_mismatches=tuple(stats.first_mismatches),
        digest=stats.digest,
        started=started,
        ended=datetime.now(UTC),
    )
    if receipt.mismatches:
        raise VerificationError(receipt)
    return receipt
