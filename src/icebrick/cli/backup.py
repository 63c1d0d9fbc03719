"""icebrick backup"""

from __future__ import annotations

import socket
from pathlib import Path

import click

from icebrick.app import image_run, opened_cloud, this_host, volume_run
from icebrick.attach.device import open_image
from icebrick.cli.command import command, setting
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.output import Output, size_text
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.config.options import ENGINE_MODE
from icebrick.errors import IcebrickError, IncompleteError, UsageError
from icebrick.workflow.backup import BackupPlan, plan_backup, run_backup, run_image_backup
from icebrick.workflow.naming import name_image
from icebrick.workflow.report import BackupReport, ImageBackup, to_json

EXAMPLES = """
icebrick -r main backup --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f
icebrick -r main --cloud prod backup --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --dry-run
icebrick -r /srv/backup backup --image /var/lib/images/disk1.raw --name disk1
icebrick -r /srv/backup backup --image /dev/vg0/data-snap --name data --tag nightly
"""


@command("backup", examples=EXAMPLES)
@click.option("--single-volume-id", "volume_ids", metavar="ID", multiple=True, help="Back up this volume; repeatable.")
@click.option("--image", type=Path, metavar="PATH", help="Back up this image file or block device instead.")
@click.option("--name", metavar="NAME", help="What the image is called in the repository.")
@click.option("--host", metavar="HOST", help="The image's host name in the repository. Default: this host's.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Mark the snapshots with this; repeatable.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done.")
@setting(ENGINE_MODE)
def backup(
    volume_ids: tuple[str, ...],
    image: Path | None,
    name: str | None,
    host: str | None,
    tags: tuple[str, ...],
    *,
    dry_run: bool,
) -> None:
    """Back up volumes, or an image file.

    A volume is read from a volume snapshot, so it may be in use: the backup is what a sudden power cut would
    have left on it. What is made in the cloud for that is removed again.
    """
    if (image is None) == (not volume_ids):
        raise UsageError("what to back up: either --single-volume-id or --image")
    if (image is None) != (name is None):
        raise UsageError("--image and --name belong together")
    invocation = this_invocation()
    if image is not None and name is not None:
        if dry_run:
            raise UsageError("--dry-run is for volumes")
        _back_up_image(invocation, image, name, host or socket.gethostname(), tags)
    elif host is not None:
        raise UsageError("--host is for images; volumes are of no host")
    elif dry_run:
        _plan(invocation, volume_ids, tags)
    else:
        _back_up_volumes(invocation, volume_ids, tags)


def _back_up_image(invocation: Invocation, image: Path, name: str, host: str, tags: tuple[str, ...]) -> None:
    with (
        open_image(image) as source,
        opened_repository(invocation) as repository,
        image_run(repository, invocation.progress, lock_wait=lock_wait(invocation)) as (run, images),
    ):
        naming = name_image(name, host, run_id=run.id, tags=tags)
        report = run_image_backup(source, naming, run, images)
    _tell(invocation.output, report)


def _back_up_volumes(invocation: Invocation, volume_ids: tuple[str, ...], tags: tuple[str, ...]) -> None:
    with (
        opened_repository(invocation) as repository,
        opened_cloud(invocation.settings.cloud) as cloud,
        volume_run(this_host(invocation.settings.agent), cloud, repository, invocation.progress) as (access, images),
    ):
        report = run_backup(plan_backup(cloud, images.snapshots, volume_ids, tags=tags), access, images)
    _tell(invocation.output, report)


def _plan(invocation: Invocation, volume_ids: tuple[str, ...], tags: tuple[str, ...]) -> None:
    with opened_repository(invocation) as repository, opened_cloud(invocation.settings.cloud) as cloud:
        plan = plan_backup(cloud, list(repository.snapshots()), volume_ids, tags=tags)
    record = {
        "message_type": "plan",
        "backups": [
            {
                "volume_id": planned.volume.id,
                "name": planned.volume.name,
                "size_gib": planned.volume.size,
                "parent_id": None if planned.parent is None else planned.parent.id,
            }
            for planned in plan.backups
        ],
        "failures": to_json(plan.failures),
    }
    invocation.output.result("\n".join(_plan_lines(plan)), record)


def _plan_lines(plan: BackupPlan) -> list[str]:
    lines = []
    for planned in plan.backups:
        volume, parent = planned.volume, planned.parent
        against = "nothing to compare with" if parent is None else f"compared with snapshot {(parent.id or '')[:8]}"
        lines.append(f"would back up volume {volume.id} ({volume.name}), {volume.size} GiB, {against}")
    lines += [f"could not back up volume {failure.volume_id}: {failure.message}" for failure in plan.failures]
    return lines


def _tell(output: Output, report: BackupReport) -> None:
    """The result; then the error that ends the command, when there were failures."""
    text = "\n".join(_line(backup) for backup in report.backups)
    if report.backups or output.as_json:
        output.result(text, {"message_type": "summary", **to_json(report)})
    output.warn_of_leftovers(report.leftovers)
    _fail(output, report)


def _fail(output: Output, report: BackupReport) -> None:
    """A lone failure is the command's own; of several, each is told, and the command was done in part."""
    failures, attempts = report.failures, len(report.failures) + len(report.backups)
    if not failures:
        return
    if attempts == 1:
        raise IcebrickError(failures[0].message, hint=failures[0].hint)
    for failure in failures:
        output.warn(f"volume {failure.volume_id} was not backed up: {failure.message}")
    raise IncompleteError(f"{len(failures)} of {attempts} volumes were not backed up")


def _line(backup: ImageBackup) -> str:
    seconds = (backup.ended - backup.started).total_seconds()
    return (
        f"snapshot {backup.snapshot_id[:8]} of {backup.path}: {size_text(backup.size)}, "
        f"read {size_text(backup.bytes_read)}, new {size_text(backup.bytes_new)}, "
        f"stored {size_text(backup.bytes_packed)}, in {seconds:.1f} s"
    )
