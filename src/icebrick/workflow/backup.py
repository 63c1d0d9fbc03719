"""Backing up: volumes, several at once, or an image file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icebrick.blockdev import BlockSource
from icebrick.errors import IcebrickError, Interrupted
from icebrick.progress import NO_PROGRESS, LabelledProgress, Progress
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import from_datetime
from icebrick.run import Run
from icebrick.workflow.naming import SnapshotNaming, name_volume, volume_path
from icebrick.workflow.parallel import Capacity, Done, Failed, Outcome, run_jobs
from icebrick.workflow.record import VolumeRecord, encode_record
from icebrick.workflow.report import BackupReport, Failure, ImageBackup, Skipped
from icebrick.workflow.saving import PROGRAM_VERSION, ImageSaver, ImageSpec
from icebrick.workflow.scope import FoundGroup, Scope, find_volumes
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
    """What will be backed up, and what cannot be or is not meant. `tags` are the user's own."""

    backups: tuple[PlannedBackup, ...]
    groups: tuple[FoundGroup, ...] = ()
    """Those whose members are in `backups`."""
    failures: tuple[Failure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def plan_backup(cloud: Cloud, snapshots: Sequence[Snapshot], scope: Scope, *, tags: tuple[str, ...] = ()) -> BackupPlan:
    """Look the volumes up; one that cannot be read is a failure of its own. Makes nothing."""
    found = find_volumes(cloud, scope)
    planned = []
    for volume in found.volumes:
        earlier = with_path(snapshots, volume_path(volume.id))
        planned.append(PlannedBackup(volume, earlier[-1] if earlier else None))
    return BackupPlan(tuple(planned), found.groups, found.failures, found.skipped, found.warnings, tags)


def run_backup(
    plan: BackupPlan, access: VolumeAccess, saver: ImageSaver, capacity: Capacity, progress: Progress
) -> BackupReport:
    """Back up each volume of the plan, several at once; what fails is in the report, and the others go on.

    Asked to end meanwhile, it tells of each volume whether it was backed up, interrupted or not begun.
    """
    several = len(plan.backups) > 1
    with (progress if several else NO_PROGRESS).task("volumes", total=len(plan.backups), unit="volumes") as ended:

        def back_up(planned: PlannedBackup) -> ImageBackup:
            shown = LabelledProgress(progress, _label(planned.volume)) if several else progress
            try:
                return _back_up_volume(planned, plan.tags, access, saver, shown)
            finally:
                ended.advance(1)

        outcomes = run_jobs(plan.backups, back_up, capacity)
    return _report(plan, access, outcomes)


def _report(plan: BackupPlan, access: VolumeAccess, outcomes: Sequence[Outcome[ImageBackup]]) -> BackupReport:
    backups: list[ImageBackup] = []
    failures = list(plan.failures)
    not_begun: list[str] = []
    interrupted = False
    for planned, outcome in zip(plan.backups, outcomes, strict=True):
        match outcome:
            case Done(backup):
                backups.append(backup)
            case Failed(error):
                log.info("backup failed run=%s volume=%s: %s", access.run.id, planned.volume.id, error)
                failures.append(_failure(planned.volume.id, error))
                interrupted |= isinstance(error, Interrupted)
            case _:
                not_begun.append(planned.volume.id)
    return BackupReport(
        run_id=access.run.id,
        backups=tuple(backups),
        failures=tuple(failures),
        leftovers=tuple(access.leftovers),
        skipped=plan.skipped,
        interrupted=interrupted or bool(not_begun),
        not_begun=tuple(not_begun),
    )


def _back_up_volume(
    planned: PlannedBackup, tags: tuple[str, ...], access: VolumeAccess, saver: ImageSaver, progress: Progress
) -> ImageBackup:
    volume = planned.volume
    naming = name_volume(volume.id, volume.project_id, run_id=access.run.id, name=volume.name, tags=tags)
    # Before the volume snapshot is taken: what is asked for as of then must not have later data.
    moment = datetime.now(UTC)
    record = encode_record(VolumeRecord(volume, access.run, moment, PROGRAM_VERSION))
    log.info("backing up run=%s volume=%s size_gib=%d", access.run.id, volume.id, volume.size)
    with (
        access.frozen(volume) as snapshot,
        access.cloned(snapshot) as clone,
        # Read once, so it would only push out what others cached.
        access.readable(clone, direct=True) as source,
    ):
        return saver.save(source, ImageSpec(naming, from_datetime(moment), planned.parent, record), progress)


def run_image_backup(
    source: BlockSource,
    naming: SnapshotNaming,
    run: Run,
    snapshots: Sequence[Snapshot],
    saver: ImageSaver,
    progress: Progress,
) -> BackupReport:
    """Back up an image file or device that lies still."""
    earlier = with_path(snapshots, naming.path, hostname=naming.hostname)
    spec = ImageSpec(naming, from_datetime(datetime.now(UTC)), earlier[-1] if earlier else None)
    return BackupReport(run.id, (saver.save(source, spec, progress),))


def _label(volume: Volume) -> str:
    return f"{volume.name} {volume.id[:8]}".lstrip()


def _failure(volume_id: str, error: IcebrickError) -> Failure:
    return Failure(volume_id, str(error), error.hint)
