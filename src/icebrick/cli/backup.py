"""icebrick backup"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from icebrick.app import cloud_run, image_run, isolated_reader, opened_cloud, this_host
from icebrick.attach.device import open_image
from icebrick.cli.command import command, refuse_all_but, settings_for
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.output import Output, counted, one_line, size_text, table
from icebrick.cli.repositories import Compared, opened_repositories
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.cli.summary import backup_table, group_line, remarks, seconds_text
from icebrick.config.options import BACKUP, TAG
from icebrick.errors import IcebrickError, IncompleteError, Interrupted, UsageError
from icebrick.parallel import Slots
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.backup import BackupPlan, plan_backup, run_backup, run_image_backup
from icebrick.workflow.naming import BackupMode, name_image
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.report import BackupReport, SavedSnapshot, to_json
from icebrick.workflow.request import BackupRequest
from icebrick.workflow.saving import opened_saver

MOST_PROBLEMS = 10
"""Files of a volume that are told one by one."""

EXAMPLES = """
icebrick -r main backup --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f
icebrick -r main --cloud prod backup --all-tenant-volumes --exclude 0b7c4f52-7d0c-4f0e-8c5e-7f0a9a3f6d11
icebrick -r main --cloud admin backup --all-tenants --filter 'name=db-*' --filter metadata.backup=yes --dry-run
icebrick -r main --cloud prod backup --consistency-groups 1f2e3d4c-5b6a-4789-8a9b-0c1d2e3f4a5b
icebrick -r /srv/backup backup --image /var/lib/images/disk1.raw --name disk1
icebrick -r /srv/backup backup --image /dev/vg0/data-snap --name data --tag nightly
"""


@command("backup", examples=EXAMPLES)
@settings_for(BACKUP)
@click.option("--image", type=Path, metavar="PATH", help="Back up this image file or block device instead.")
@click.option("--name", metavar="NAME", help="What the image is called in the repository.")
@click.option("--host", metavar="HOST", help="The image's host name in the repository. Default: this host's.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done.")
def backup(image: Path | None, name: str | None, host: str | None, *, dry_run: bool) -> None:
    """Back up volumes, or an image file.

    A volume is read from a volume snapshot, so it may be in use: the backup is what a sudden power cut would
    have left on it. What is made in the cloud for that is removed again.
    """
    if (image is None) != (name is None):
        raise UsageError("--image and --name belong together")
    if host is not None and image is None:
        raise UsageError("--host is for images; volumes are of no host")
    if dry_run and image is not None:
        raise UsageError("--dry-run is for volumes")
    invocation = this_invocation()
    if image is not None and name is not None:
        refuse_all_but((TAG,), "volumes, not for an image")
        _back_up_image(invocation, image, name, host or socket.gethostname())
    else:
        back_up_volumes(invocation, dry_run=dry_run)


def back_up_volumes(invocation: Invocation, *, dry_run: bool) -> None:
    """What the settings say, wherever they come from."""
    request = invocation.settings.engine.backup_request()
    if dry_run:
        _plan(invocation, request)
    else:
        _run(invocation, request)


def _back_up_image(invocation: Invocation, image: Path, name: str, host: str) -> None:
    with (
        open_image(image) as source,
        opened_repository(invocation) as repository,
        image_run(repository, invocation.progress, lock_wait=lock_wait(invocation)) as (run, images),
    ):
        naming = name_image(name, host, run_id=run.id, tags=invocation.settings.engine.tags)
        with opened_saver(repository, images.store, Slots(stop=invocation.stop)) as saver:
            report = run_image_backup(source, naming, run, images.snapshots, saver, invocation.progress)
    tell(invocation.output, report, {})


def _run(invocation: Invocation, request: BackupRequest) -> None:
    settings, progress = invocation.settings, invocation.progress
    capacity = new_capacity(settings.engine.parallel, stop=invocation.stop)
    with (
        opened_cloud(settings.cloud, capacity.stop) as cloud,
        opened_repositories(invocation, cloud) as repositories,
        cloud_run(
            this_host(settings.agent),
            cloud,
            cold=request.cold,
            recreate_on_error=request.recreate_on_error,
            reader=isolated_reader(settings.agent.reader, capacity.stop) if request.isolated else None,
        ) as access,
    ):
        plan = plan_backup(cloud, request.scope, tags=request.tags, mode=request.mode, encrypted=request.encrypted)
        _warn(invocation.output, plan)
        with repositories.destinations(plan.volumes, capacity.slots) as destinations:
            report = run_backup(plan, access, destinations, capacity, progress)
    tell(invocation.output, report, {volume.id: volume.name for volume in plan.volumes})


def _plan(invocation: Invocation, request: BackupRequest) -> None:
    with (
        opened_cloud(invocation.settings.cloud) as cloud,
        opened_repositories(invocation, cloud) as repositories,
    ):
        plan = plan_backup(cloud, request.scope, tags=request.tags, mode=request.mode, encrypted=request.encrypted)
        compared, failures = repositories.compare(plan.volumes)
    _warn(invocation.output, plan)
    plan = replace(plan, failures=(*plan.failures, *failures))
    record = {
        "message_type": "plan",
        "backups": [
            {
                "volume_id": each.volume.id,
                "name": each.volume.name,
                "project_id": each.volume.project_id,
                "group_id": each.volume.group_id,
                "size_gib": each.volume.size,
                "status": each.volume.status,
                "parent_ids": {mode.value: parent.id for mode, parent in _parents(each, plan.mode).items()},
            }
            for each in compared
        ],
        "skipped": to_json(plan.skipped),
        "failures": to_json(plan.failures),
    }
    invocation.output.result(_plan_text(plan, compared), record)


def _plan_text(plan: BackupPlan, compared: Sequence[Compared]) -> str:
    rows = []
    for each in compared:
        volume, parents = each.volume, _parents(each, plan.mode)
        against = " or ".join(f"snapshot {(parent.id or '')[:8]} ({mode.value})" for mode, parent in parents.items())
        against = against or "nothing"
        rows.append((volume.id, volume.project_id, volume.name, f"{volume.size} GiB", volume.status, against))
    size = sum(each.volume.size for each in compared)
    return "\n".join(
        [
            table(("volume", "project", "name", "size", "status", "compared with"), rows),
            f"would back up {counted(len(rows), 'volume')}, {size} GiB",
            *(f"would skip volume {skipped.volume_id}: it {skipped.reason}" for skipped in plan.skipped),
            *(f"could not back up {failure.subject}: {failure.message}" for failure in plan.failures),
        ]
    )


def _parents(compared: Compared, mode: BackupMode) -> Mapping[BackupMode, Snapshot]:
    """Those that may count: in which mode a volume is read is decided when it is frozen."""
    return {each: parent for each, parent in compared.parents.items() if mode in (BackupMode.AUTO, each)}


def _warn(output: Output, plan: BackupPlan) -> None:
    for warning in plan.warnings:
        output.warn(warning)


def tell(output: Output, report: BackupReport, names: Mapping[str, str]) -> None:
    """The result; then the error that ends the command, when there were failures. `names` by the volumes' ids."""
    attempts = len(report.backups) + len(report.failures) + len(report.not_begun)
    if attempts > 1 or report.backups or output.as_json:
        text = backup_table(report, names) if attempts > 1 else "\n".join(map(_line, report.backups))
        output.result(
            "\n".join([text, *map(group_line, report.groups)]), {"message_type": "summary", **to_json(report)}
        )
    for skipped in report.skipped:
        output.say(f"skipped volume {skipped.volume_id}: it {skipped.reason}")
    for group in report.groups:
        if not group.complete:
            output.warn(f"{group_line(group)}: it cannot be restored as a group, only volume by volume")
    for backup in report.backups:
        _warn_of_problems(output, backup)
    output.warn_of_leftovers(report.leftovers)
    for volume in report.away:
        output.warn(volume)
    _fail(output, report, attempts)


def _warn_of_problems(output: Output, backup: SavedSnapshot) -> None:
    """Which files are missing; with --json the result has told it."""
    if output.as_json:
        return
    shown = backup.problems[:MOST_PROBLEMS]
    for problem in shown:
        output.warn(f"{backup.path}: {one_line(problem.path)}: {problem.reason}")
    if backup.problem_count > len(shown):
        output.warn(f"{backup.path}: {backup.problem_count - len(shown)} more; --json tells of up to 10,000")


def _fail(output: Output, report: BackupReport, attempts: int) -> None:
    """A lone failure is the command's own; of several, each is told, and the command was done in part."""
    failures = report.failures
    if attempts == 1 and report.interrupted:
        raise Interrupted("interrupted")
    if attempts == 1 and failures:
        raise IcebrickError(failures[0].message, hint=failures[0].hint)
    if report.interrupted:
        raise Interrupted(f"interrupted when {len(report.backups)} of {attempts} volumes were backed up")
    for failure in failures:
        output.warn(f"{failure.subject} was not backed up: {failure.message}")
    if failures:
        raise IncompleteError(f"{len(failures)} of {attempts} volumes were not backed up")
    if report.away:
        raise IncompleteError(f"{counted(len(report.away), 'volume')} could not be attached to a server again")
    # As restic does it: the snapshots are there, but not all of what they should hold.
    missing = sum(backup.problem_count for backup in report.backups)
    if missing:
        raise IncompleteError(f"{counted(missing, 'file')} could not be read, or not in full; all others are backed up")


def _line(backup: SavedSnapshot) -> str:
    return "; ".join([_what_was_saved(backup), *remarks(backup)])


def _what_was_saved(backup: SavedSnapshot) -> str:
    return (
        f"snapshot {backup.snapshot_id[:8]} of {backup.path}: {size_text(backup.size)} in {backup.mode.value}, "
        f"read {size_text(backup.bytes_read)}, new {size_text(backup.bytes_new)}, "
        f"stored {size_text(backup.bytes_packed)}, in {seconds_text(backup)}"
    )
