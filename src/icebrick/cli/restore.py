"""icebrick restore"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from icebrick.app import image_run, opened_cloud, this_host, volume_run
from icebrick.attach.device import open_image
from icebrick.cli.command import command
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.output import Output, size_text, write_stdout
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.engine.block.restore import dump_image
from icebrick.errors import UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.images import Images
from icebrick.workflow.naming import volume_of_path
from icebrick.workflow.report import Receipt, RestoreReport, to_json
from icebrick.workflow.restore import Restorable, VerificationError, restore_to_path, verify
from icebrick.workflow.select import LATEST, Selection, choose_any, choose_image, choose_volume, parse_moment
from icebrick.workflow.volume_restore import RestoreOptions, plan_volume_restore, run_volume_restore

EXAMPLES = """
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --verify
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --restore-from-date 2026-11-20
icebrick -r /srv/backup restore --snapshot 4f0b9f6e --target /srv/images/volume.raw
icebrick -r /srv/backup restore --image-name disk1 --target /dev/vg0/disk1 --force --verify --receipt disk1.json
icebrick -r /srv/backup restore --image-name disk1 --target - | zstd > disk1.raw.zst
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for; checked, and free of contradictions."""

    volume_id: str | None
    image_name: str | None
    host: str | None
    selection: Selection
    target: str | None
    force: bool
    verify: bool
    meta_override: bool
    receipt: Path | None

    @property
    def to_stdout(self) -> bool:
        return self.target == "-"


@command("restore", examples=EXAMPLES)
@click.option("--single-volume-id", "volume_id", metavar="ID", help="Restore this volume.")
@click.option("--image-name", metavar="NAME", help="Restore this image.")
@click.option("--host", metavar="HOST", help="The image of this host; needed when several have one of that name.")
@click.option("--snapshot", "wanted", metavar="latest|ID", default=LATEST, help="Which snapshot. Default: latest.")
@click.option("--restore-from-date", "date", metavar="WHEN", help="The newest snapshot not after this date or time.")
@click.option("--target", metavar="PATH|-", help="Restore to this file or device, or standard output: without a cloud.")
@click.option("--force", is_flag=True, help="Replace the target file, or overwrite the target device.")
@click.option("--verify", is_flag=True, help="Read everything back and compare it with the backup.")
@click.option("--receipt", type=Path, metavar="FILE", help="Write what --verify found to this file, as JSON.")
@click.option("--meta-override", is_flag=True, help="Give the restored volume the name, metadata etc. of the backup.")
def restore(wanted: str, date: str | None, **given: Any) -> None:
    """Restore a volume in the cloud, or an image to a file or device.

    A volume that still exists is not changed: the backup is restored onto a copy of it, which needs only
    what differs. A volume that is gone is made again as it was. Either way the new volume's id is printed.

    With --target no cloud is needed.
    """
    if date is not None and wanted != LATEST:
        raise UsageError("--snapshot names one already, --restore-from-date cannot choose another")
    selection = Selection(wanted, None if date is None else parse_moment(date))
    request = Request(selection=selection, **given)
    _check(request)
    invocation = this_invocation(stdout_is_data=request.to_stdout)
    try:
        report = _to_target(invocation, request) if request.target else _to_cloud(invocation, request)
    except VerificationError as error:
        _keep_receipt(request, error.receipt)
        invocation.output.record("receipt", to_json(error.receipt))
        raise
    if report is not None:
        _keep_receipt(request, report.receipt)
        _tell(invocation.output, report)


def _check(request: Request) -> None:
    problems = {
        "--single-volume-id and --image-name exclude each other": request.volume_id and request.image_name,
        "--host is for images": request.host and not request.image_name,
        "an image needs a --target": request.image_name and not request.target,
        "name a volume with --single-volume-id, an image with --image-name, or a --snapshot": (
            not request.volume_id and not request.image_name and request.selection == Selection()
        ),
        "--force is for a --target": request.force and not request.target,
        "--meta-override is for volumes in the cloud": request.meta_override and request.target,
        "--receipt needs --verify": request.receipt and not request.verify,
        "what went to standard output cannot be verified": request.verify and request.to_stdout,
    }
    for message, applies in problems.items():
        if applies:
            raise UsageError(message)


def _choose(request: Request, images: Images) -> Snapshot:
    if request.volume_id is not None:
        return choose_volume(images.snapshots, request.volume_id, request.selection)
    if request.image_name is not None:
        return choose_image(images.snapshots, request.image_name, request.host, request.selection)
    return choose_any(images.snapshots, request.selection)


def _to_target(invocation: Invocation, request: Request) -> RestoreReport | None:
    """To a file, a device or standard output; there is nothing to report of the last."""
    assert request.target is not None
    progress = invocation.progress
    with (
        opened_repository(invocation) as repository,
        image_run(repository, progress, lock_wait=lock_wait(invocation)) as (run, images),
    ):
        snapshot = _choose(request, images)
        restorable = Restorable(snapshot, images.find(snapshot), images)
        if request.to_stdout:
            dump_image(restorable.image, images.store, write_stdout, progress=progress)
            return None
        path = Path(request.target)
        report = restore_to_path(restorable, path, replace=request.force, run_id=run.id, progress=progress)
        if request.verify:
            with open_image(path, direct=True) as source:
                report = replace(report, receipt=verify(restorable, source, str(path), progress))
    return report


def _to_cloud(invocation: Invocation, request: Request) -> RestoreReport:
    options = RestoreOptions(verify=request.verify, meta_override=request.meta_override)
    with (
        opened_repository(invocation) as repository,
        opened_cloud(invocation.settings.cloud) as cloud,
        volume_run(this_host(invocation.settings.agent), cloud, repository, invocation.progress) as (access, images),
    ):
        volume_id = request.volume_id or _volume_of(_choose(request, images))
        plan = plan_volume_restore(cloud, images, volume_id, request.selection, options)
        return run_volume_restore(plan, access, invocation.progress)


def _volume_of(snapshot: Snapshot) -> str:
    volume_ids = [volume_id for path in snapshot.paths if (volume_id := volume_of_path(path)) is not None]
    if len(volume_ids) != 1:
        raise UsageError(f"snapshot {snapshot.id} is not of a volume", hint="Restore it with --target.")
    return volume_ids[0]


def _keep_receipt(request: Request, receipt: Receipt | None) -> None:
    if request.receipt is None or receipt is None:
        return
    try:
        request.receipt.write_text(json.dumps(to_json(receipt), indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write receipt {request.receipt}: {error.strerror}") from error


def _tell(output: Output, report: RestoreReport) -> None:
    what = f"volume {report.volume_id}" if report.volume_id else report.target
    lines = [
        f"restored snapshot {report.snapshot_id[:8]} to {what}: {size_text(report.size)}, "
        f"written {size_text(report.bytes_written)}, already right {size_text(report.bytes_matching)}"
    ]
    if report.receipt is not None:
        receipt = report.receipt
        lines.append(
            f"verified: {receipt.blocks} blocks, {receipt.zero_blocks} of them zeros, no differences, "
            f"digest {receipt.digest}"
        )
    output.result("\n".join(lines), {"message_type": "summary", **to_json(report)})
    output.warn_of_leftovers(report.leftovers)
