"""Restoring volumes in the cloud, several at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from icebrick.errors import IcebrickError, Interrupted
from icebrick.progress import NO_PROGRESS, LabelledProgress, Progress
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.access import VolumeAccess
from icebrick.workflow.images import Images
from icebrick.workflow.parallel import Capacity, Done, Failed, Outcome, run_jobs
from icebrick.workflow.points import FoundSnapshots, RestorePoint, find_restorable, volume_id_of
from icebrick.workflow.report import Failure
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restore import VerificationError
from icebrick.workflow.restoring.group import GroupAttempt
from icebrick.workflow.restoring.old import remove_old
from icebrick.workflow.restoring.outcome import RestoreFailure, VolumeRestore, VolumesReport
from icebrick.workflow.restoring.plan import RestoreSource, VolumeRestorePlan, plan_volume_restore
from icebrick.workflow.restoring.ways import Attempt
from icebrick.workflow.select import choose_any

log = logging.getLogger(__name__)


def find_snapshots(images: Images, request: RestoreRequest, project_id: str | None) -> FoundSnapshots:
    """What the request means; `project_id` is whose volumes a project's are."""
    if request.scope is None:
        return FoundSnapshots((choose_any(images.snapshots, request.selection),))
    return find_restorable(
        images.snapshots,
        request.scope,
        request.selection,
        project_id=project_id,
        volume_of=lambda snapshot: images.record(snapshot).volume,
    )


def run_restore(
    found: FoundSnapshots, source: RestoreSource, access: VolumeAccess, capacity: Capacity, progress: Progress
) -> VolumesReport:
    """Restore what was found, several volumes at once; what fails is in the report, and the others go on.

    Asked to end meanwhile, it tells of each volume whether it was restored, interrupted or not begun.
    """
    several = len(found.snapshots) > 1
    overwritten: dict[str | None, list[str]] = {snapshot.id: [] for snapshot in found.snapshots}
    with (
        (progress if several else NO_PROGRESS).task("volumes", total=len(found.snapshots), unit="volumes") as ended,
        closing(_Groups(source, found.groups)) as groups,
    ):

        def restore(snapshot: Snapshot) -> VolumeRestore:
            label = (volume_id_of(snapshot) or "")[:8]
            attempt = Attempt(source, LabelledProgress(progress, label) if several else progress)
            try:
                group = groups.of(snapshot)
                return _restore(attempt, snapshot) if group is None else group.restore(attempt, snapshot)
            finally:
                overwritten[snapshot.id] += attempt.safety_snapshot_ids
                ended.advance(1)

        outcomes = run_jobs(found.snapshots, restore, capacity)
    settled = [groups.settled(*each) for each in zip(found.snapshots, outcomes, strict=True)]
    report = _report(found, access, settled, overwritten)
    return replace(report, groups=tuple(group.report() for group in groups.all))


def joined(reports: Sequence[VolumesReport], access: VolumeAccess) -> VolumesReport:
    """Those of one run, that worked with one repository after the other."""
    return VolumesReport(
        run_id=access.run.id,
        restores=tuple(each for report in reports for each in report.restores),
        failures=tuple(each for report in reports for each in report.failures),
        leftovers=tuple(access.leftovers),
        skipped=tuple(each for report in reports for each in report.skipped),
        interrupted=any(report.interrupted for report in reports),
        not_begun=tuple(each for report in reports for each in report.not_begun),
        groups=tuple(each for report in reports for each in report.groups),
    )


class _Groups:
    """Those of a run; without any, all volumes are restored by themselves."""

    def __init__(self, source: RestoreSource, points: Sequence[RestorePoint]) -> None:
        self.all = [GroupAttempt(source, point) for point in points]
        self._removes_old = source.request.remove_old
        self._of = {snapshot.id: group for group in self.all for snapshot in group.point.members}

    def of(self, snapshot: Snapshot) -> GroupAttempt | None:
        return self._of.get(snapshot.id)

    def settled(self, snapshot: Snapshot, outcome: Outcome[VolumeRestore]) -> Outcome[VolumeRestore]:
        """What became of a volume, when also the others of its group have ended."""
        group = self.of(snapshot)
        if group is None:
            return outcome
        final = group.settled(snapshot, outcome)
        if self._removes_old and isinstance(final, Done):
            return Done(_without_old(group.plan_of(snapshot), final.result))
        return final

    def close(self) -> None:
        for group in self.all:
            group.close()


def _restore(attempt: Attempt, snapshot: Snapshot) -> VolumeRestore:
    plan = plan_volume_restore(attempt.source, snapshot)
    with attempt.restored(plan) as restored:
        pass
    restored = replace(restored, safety_snapshot_ids=tuple(attempt.safety_snapshot_ids))
    return _without_old(plan, restored) if attempt.source.request.remove_old else restored


def _without_old(plan: VolumeRestorePlan, restored: VolumeRestore) -> VolumeRestore:
    """The volume that was replaced is deleted; where none was, there is nothing to do."""
    if plan.existing is None:
        return restored
    if restored.offer is not None:
        return replace(restored, not_removed="nobody has accepted the restored volume yet")
    reason = remove_old(plan.place.access.cloud, plan.existing.id)
    if reason is not None:
        return replace(restored, not_removed=reason)
    return replace(restored, removed_volume_id=plan.existing.id)


def _report(
    found: FoundSnapshots,
    access: VolumeAccess,
    outcomes: Sequence[Outcome[VolumeRestore]],
    overwritten: dict[str | None, list[str]],
) -> VolumesReport:
    restores: list[VolumeRestore] = []
    failures = [_not_found(failure) for failure in found.failures]
    not_begun: list[str] = []
    interrupted = False
    group_ids = {snapshot.id: point.group_id for point in found.groups for snapshot in point.members}
    for snapshot, outcome in zip(found.snapshots, outcomes, strict=True):
        match outcome:
            case Done(restored):
                restores.append(restored)
            case Failed(error):
                log.info("restore failed run=%s snapshot=%s: %s", access.run.id, snapshot.id, error)
                failure = _failed(snapshot, error, overwritten[snapshot.id])
                failures.append(replace(failure, group_id=group_ids.get(snapshot.id)))
                interrupted |= isinstance(error, Interrupted)
            case _:
                not_begun.append(volume_id_of(snapshot) or "")
    return VolumesReport(
        run_id=access.run.id,
        restores=tuple(restores),
        failures=tuple(failures),
        leftovers=tuple(access.leftovers),
        skipped=found.skipped,
        interrupted=interrupted or bool(not_begun),
        not_begun=tuple(not_begun),
    )


def _not_found(failure: Failure) -> RestoreFailure:
    return RestoreFailure(failure.volume_id, failure.group_id, failure.message, failure.hint)


def _failed(snapshot: Snapshot, error: IcebrickError, safety_snapshot_ids: Sequence[str]) -> RestoreFailure:
    return RestoreFailure(
        volume_id=volume_id_of(snapshot),
        group_id=None,
        message=str(error),
        hint=error.hint,
        exit_code=error.exit_code,
        receipt=error.receipt if isinstance(error, VerificationError) else None,
        safety_snapshot_ids=tuple(safety_snapshot_ids),
    )
