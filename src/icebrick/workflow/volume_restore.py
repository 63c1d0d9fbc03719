"""Restoring a volume in the cloud: onto a copy of it while it exists, else onto a new volume made from its record."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass

from icebrick.blockdev import BlockTarget, Extent
from icebrick.cloud.base import Cloud, Volume, VolumeSettings, VolumeSpec
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.restore import RestoreStats, restore_image
from icebrick.errors import IcebrickError, UsageError
from icebrick.parallel import Slots
from icebrick.progress import Progress
from icebrick.workflow.access import GIB, VolumeAccess
from icebrick.workflow.images import Images
from icebrick.workflow.report import RestoreReport
from icebrick.workflow.restore import Restorable, verify
from icebrick.workflow.select import Selection, choose_volume

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What else a restore does: `verify` reads the result back.

    With `meta_override` the result gets name, metadata and so on of the backup, not the volume's present ones.
    """

    verify: bool = False
    meta_override: bool = False


@dataclass(frozen=True, slots=True)
class VolumeRestorePlan:
    """`existing` is the volume as it is now; None when it is gone. `backed_up` is what the record says of it.

    The record is read only where it is needed: a damaged one must not keep data from being restored.
    """

    volume_id: str
    restorable: Restorable
    existing: Volume | None
    backed_up: Volume | None
    options: RestoreOptions

    @property
    def settings(self) -> VolumeSettings:
        """What the restored volume shall be like."""
        model = self.backed_up or self.existing
        assert model is not None, "a plan has a record or a volume"
        return VolumeSettings(
            name=model.name,
            description=model.description,
            metadata=model.metadata,
            image_metadata=model.image_metadata,
            bootable=model.bootable,
            read_only=model.read_only,
        )


def plan_volume_restore(
    cloud: Cloud, images: Images, volume_id: str, selection: Selection, options: RestoreOptions
) -> VolumeRestorePlan:
    """Choose the snapshot and look the volume up; makes nothing. UsageError when the image cannot fit."""
    snapshot = choose_volume(images.snapshots, volume_id, selection)
    restorable = Restorable(snapshot, images.find(snapshot), images)
    existing = cloud.find_volume(volume_id)
    backed_up = None
    if existing is None or options.meta_override:
        backed_up = images.record(snapshot).volume
        if backed_up.id != volume_id:
            raise IcebrickError(f"the record in snapshot {snapshot.id} is of volume {backed_up.id}, not of {volume_id}")
    if existing is None and backed_up is not None and backed_up.encrypted:
        raise IcebrickError(
            f"volume {volume_id} is gone and with it the key of its encryption; a new volume could not read the data",
            hint="Restore the encrypted image with --target.",
        )
    if existing is not None and existing.size * GIB < restorable.image.size:
        raise UsageError(
            f"volume {volume_id} has {existing.size} GiB, the image of snapshot {snapshot.id} has "
            f"{restorable.image.size} bytes"
        )
    return VolumeRestorePlan(volume_id, restorable, existing, backed_up, options)


def run_volume_restore(
    plan: VolumeRestorePlan, access: VolumeAccess, progress: Progress, *, slots: Slots | None = None
) -> RestoreReport:
    """Restore; the volume in the report is complete and stays. By an error, nothing stays and nothing was changed.

    `slots` are those of the run, when there are others at work in it.
    """
    receipt = None
    blocks = BlockOptions(slots=slots or Slots())
    with _result(plan, access) as volume:
        log.info("restoring run=%s snapshot=%s volume=%s", access.run.id, plan.restorable.snapshot.id, volume.id)
        with access.writable(volume) as target:
            stats = _fill(plan.restorable, target, blocks, progress)
        if plan.options.verify:
            # Attached anew, so that no cache of this host can answer instead of the storage.
            with access.readable(volume, direct=True) as source:
                receipt = verify(plan.restorable, source, volume.id, progress, options=blocks)
        access.cloud.apply_settings(volume.id, plan.settings)
    return RestoreReport(
        run_id=access.run.id,
        snapshot_id=plan.restorable.snapshot.id or "",
        target=volume.id,
        volume_id=volume.id,
        size=stats.size,
        bytes_written=stats.written,
        bytes_discarded=stats.discarded,
        bytes_matching=stats.matching,
        receipt=receipt,
        leftovers=tuple(access.leftovers),
    )


def _fill(restorable: Restorable, target: BlockTarget, blocks: BlockOptions, progress: Progress) -> RestoreStats:
    """The image, and zeros behind its end: a volume that has grown since must not keep what was written there."""
    stats = restore_image(restorable.image, restorable.images.store, target, options=blocks, progress=progress)
    if target.size > restorable.image.size:
        target.discard(Extent(restorable.image.size, target.size - restorable.image.size))
        target.flush()
    return stats


def _result(plan: VolumeRestorePlan, access: VolumeAccess) -> AbstractContextManager[Volume]:
    if plan.existing is not None:
        return access.copied(plan.existing)
    volume = plan.backed_up
    assert volume is not None, "a plan without a volume has a record"
    return access.created(
        VolumeSpec(
            name=volume.name,
            size=max(volume.size, -(-plan.restorable.image.size // GIB)),
            description=volume.description,
            volume_type=volume.volume_type,
            availability_zone=volume.availability_zone,
            metadata=volume.metadata,
        )
    )
