"""Backing up: volumes, one after the other, or an image file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icebrick.blockdev import BlockSource
from icebrick.errors import IcebrickError, UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import from_datetime
from icebrick.run import Run
from icebrick.workflow.images import PROGRAM_VERSION, Images, ImageSpec
from icebrick.workflow.naming import SnapshotNaming, name_volume, volume_path
from icebrick.workflow.record import VolumeRecord, encode_record
from icebrick.workflow.report import BackupReport, Failure, ImageBackup
from icebrick.workflow.select import with_path

if TYPE_CHECKING:
    from icebrick.cloud.base import Cloud, Volume
    from icebrick.workflow.access import VolumeAccess

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlannedBackup:
    """A volume to back up; its newest snapshot says what is compared with."""

    volume: Volume
    parent: Snapshot | None


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What will be backed up, and what cannot be. `tags` are the user's own."""

    backups: tuple[PlannedBackup, ...]
    failures: tuple[Failure, ...]
    tags: tuple[str, ...] = ()


def plan_backup(
    cloud: Cloud, snapshots: Sequence[Snapshot], volume_ids: Sequence[str], *, tags: tuple[str, ...] = ()
) -> BackupPlan:
    """Look the volumes up; one that cannot be read is a failure of its own. Makes nothing."""
    if not volume_ids:
        raise UsageError("no volume is named")
    planned: list[PlannedBackup] = []
    failures: list[Failure] = []
    for volume_id in dict.fromkeys(volume_ids):
        try:
            volume = cloud.get_volume(volume_id)
        except IcebrickError as error:
            failures.append(_failure(volume_id, error))
            continue
        earlier = with_path(snapshots, volume_path(volume.id))
        planned.append(PlannedBackup(volume, earlier[-1] if earlier else None))
    return BackupPlan(tuple(planned), tuple(failures), tags)


def run_backup(plan: BackupPlan, access: VolumeAccess, images: Images) -> BackupReport:
    """Back up each volume of the plan; what fails is in the report, and the others go on."""
    backups: list[ImageBackup] = []
    failures = list(plan.failures)
    for planned in plan.backups:
        try:
            backups.append(_back_up_volume(planned, plan.tags, access, images))
        except IcebrickError as error:
            log.info("backup failed run=%s volume=%s: %s", access.run.id, planned.volume.id, error)
            failures.append(_failure(planned.volume.id, error))
    return BackupReport(access.run.id, tuple(backups), tuple(failures), tuple(access.leftovers))


def _back_up_volume(planned: PlannedBackup, tags: tuple[str, ...], access: VolumeAccess, images: Images) -> ImageBackup:
    volume = planned.volume
    naming = name_volume(volume.id, volume.project_id, run_id=access.run.id, tags=tags)
    # Before the volume snapshot is taken: what is asked for as of then must not have later data.
    moment = datetime.now(UTC)
    record = encode_record(VolumeRecord(volume, access.run, moment, PROGRAM_VERSION))
    log.info("backing up run=%s volume=%s size_gib=%d", access.run.id, volume.id, volume.size)
    with access.frozen(volume) as source:
        return images.save(source, ImageSpec(naming, from_datetime(moment), planned.parent, record))


def run_image_backup(source: BlockSource, naming: SnapshotNaming, run: Run, images: Images) -> BackupReport:
    """Back up an image file or device that lies still."""
    earlier = with_path(images.snapshots, naming.path, hostname=naming.hostname)
    spec = ImageSpec(naming, from_datetime(datetime.now(UTC)), earlier[-1] if earlier else None)
    return BackupReport(run.id, (images.save(source, spec),))


def _failure(volume_id: str, error: IcebrickError) -> Failure:
    return Failure(volume_id, str(error), error.hint)
