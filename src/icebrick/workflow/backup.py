"""Backing up: volumes, several at once, or an image file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icebrick.blockdev import BlockSource
from icebrick.errors import CloudError, Interrupted, NotEncryptedError
from icebrick.progress import NO_PROGRESS, LabelledProgress, Progress
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import from_datetime
from icebrick.run import Run
from icebrick.workflow.destination import Destinations, parents_of
from icebrick.workflow.encryption import DecryptedVolumes, EncryptedVolumes, Form, StoredEncryption, choose_form
from icebrick.workflow.freezing import Freezer, Frozen
from icebrick.workflow.naming import BackupMode, SnapshotNaming, checked_tag, name_volume
from icebrick.workflow.parallel import Capacity, Done, Failed, Outcome, run_jobs
from icebrick.workflow.reading import Reading
from icebrick.workflow.record import VolumeRecord
from icebrick.workflow.report import BackupReport, Failure, SavedSnapshot, Skipped
from icebrick.workflow.saving import PROGRAM_VERSION, Saver, SnapshotSpec
from icebrick.workflow.scope import FoundGroup, Scope, ScopeKind, find_volumes
from icebrick.workflow.select import newest_by_mode, with_path

if TYPE_CHECKING:
    from icebrick.cloud.base import Cloud, Volume
    from icebrick.workflow.access import VolumeAccess

log = logging.getLogger(__name__)

_FOREIGN_KEY_HINT = (
    "For a clone of an encrypted volume, Cinder copies its key with the rights of whoever asks: in most clouds that "
    "has to be a member of the volume's project, even where an administrator may do all else."
)


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What will be backed up, and what cannot be or is not meant. `tags` are the user's own."""

    volumes: tuple[Volume, ...]
    """Those of one project, and of one group, side by side."""
    groups: tuple[FoundGroup, ...] = ()
    """Those whose members are in `volumes`."""
    failures: tuple[Failure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    mode: BackupMode = BackupMode.AUTO
    encrypted: EncryptedVolumes = EncryptedVolumes.AUTO


def plan_backup(
    cloud: Cloud,
    scope: Scope,
    *,
    tags: tuple[str, ...] = (),
    mode: BackupMode = BackupMode.AUTO,
    encrypted: EncryptedVolumes = EncryptedVolumes.AUTO,
) -> BackupPlan:
    """Look the volumes up; one that cannot be read is a failure of its own. Makes nothing."""
    found = find_volumes(cloud, scope)
    volumes = found.volumes
    if scope.kind is ScopeKind.ALL_PROJECTS:
        volumes = tuple(sorted(volumes, key=lambda volume: volume.project_id))
    checked = tuple(map(checked_tag, tags))
    return BackupPlan(volumes, found.groups, found.failures, found.skipped, found.warnings, checked, mode, encrypted)


def run_backup(
    plan: BackupPlan, access: VolumeAccess, destinations: Destinations, capacity: Capacity, progress: Progress
) -> BackupReport:
    """Back up each volume of the plan, several at once; what fails is in the report, and the others go on.

    Asked to end meanwhile, it tells of each volume whether it was backed up, interrupted or not begun.
    """
    several = len(plan.volumes) > 1
    with (
        (progress if several else NO_PROGRESS).task("volumes", total=len(plan.volumes), unit="volumes") as ended,
        closing(Freezer(access, plan.groups)) as freezer,
    ):
        job = _Job(access, freezer, destinations, plan)

        def back_up(volume: Volume) -> SavedSnapshot:
            shown = LabelledProgress(progress, _label(volume)) if several else progress
            try:
                return job.back_up(volume, shown)
            finally:
                ended.advance(1)

        outcomes = run_jobs(plan.volumes, back_up, capacity)
    return _report(plan, access, freezer, outcomes)


def _report(
    plan: BackupPlan, access: VolumeAccess, freezer: Freezer, outcomes: Sequence[Outcome[SavedSnapshot]]
) -> BackupReport:
    backups: dict[str, SavedSnapshot] = {}
    failures = list(plan.failures)
    not_begun: list[str] = []
    interrupted = False
    for volume, outcome in zip(plan.volumes, outcomes, strict=True):
        match outcome:
            case Done(backup):
                backups[volume.id] = backup
            case Failed(error):
                log.info("backup failed run=%s volume=%s: %s", access.run.id, volume.id, error)
                failures.append(Failure(volume.id, str(error), error.hint, freezer.group_id_of(volume.id)))
                interrupted |= isinstance(error, Interrupted)
            case _:
                not_begun.append(volume.id)
    return BackupReport(
        run_id=access.run.id,
        backups=tuple(backups.values()),
        failures=tuple(failures),
        leftovers=tuple(access.leftovers),
        away=tuple(access.away),
        skipped=plan.skipped,
        interrupted=interrupted or bool(not_begun),
        not_begun=tuple(not_begun),
        groups=freezer.report(frozenset(backups)),
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """What backing up any volume of a run takes."""

    access: VolumeAccess
    freezer: Freezer
    destinations: Destinations
    plan: BackupPlan

    def back_up(self, volume: Volume, progress: Progress) -> SavedSnapshot:
        log.info("backing up run=%s volume=%s size_gib=%d", self.access.run.id, volume.id, volume.size)
        stored = choose_form(self.access.cloud, volume, self.plan.encrypted)
        with (
            self.destinations.of(volume) as destination,  # first: without it, nothing is to be made in the cloud
            self.freezer.frozen(volume) as frozen,
        ):
            spec = self._spec(volume, frozen, parents_of(destination.snapshots, volume.id))
            reading = Reading(frozen.snapshot, self.access, destination.saver, spec, progress, self.access)
            try:
                return self._save(volume, reading, stored)
            except NotEncryptedError:
                if stored is None or stored.form is not Form.DECRYPTED:
                    raise
                empty = replace(stored, form=Form.AS_STORED, reason="nobody has written to it yet")
                return self._save(volume, reading, empty)

    def _save(self, volume: Volume, reading: Reading, stored: StoredEncryption | None) -> SavedSnapshot:
        if stored is None:
            return reading.save(self.plan.mode)
        if stored.form is Form.DECRYPTED:
            reading = replace(reading, devices=DecryptedVolumes(self.access))
        try:
            saved = reading.of_encryption(stored).save(self.plan.mode)
        except CloudError as error:
            if volume.project_id == self.access.cloud.project().id:
                raise
            raise type(error)(str(error), hint=_FOREIGN_KEY_HINT) from error
        return replace(saved, encryption=stored)

    def _spec(self, volume: Volume, frozen: Frozen, parents: Mapping[BackupMode, Snapshot]) -> SnapshotSpec:
        run = self.access.run
        naming = name_volume(
            volume.id, volume.project_id, run_id=run.id, name=volume.name, group=frozen.tags, tags=self.plan.tags
        )
        record = VolumeRecord(volume, run, frozen.moment, PROGRAM_VERSION, frozen.group)
        return SnapshotSpec(naming, from_datetime(frozen.moment), parents, record)


def run_image_backup(
    source: BlockSource,
    naming: SnapshotNaming,
    run: Run,
    snapshots: Sequence[Snapshot],
    saver: Saver,
    progress: Progress,
) -> BackupReport:
    """Back up an image file or device that lies still."""
    earlier = with_path(snapshots, naming.path, hostname=naming.hostname)
    spec = SnapshotSpec(naming, from_datetime(datetime.now(UTC)), newest_by_mode(earlier))
    return BackupReport(run.id, (saver.save_image(source, spec, progress),))


def _label(volume: Volume) -> str:
    return f"{volume.name} {volume.id[:8]}".lstrip()
