"""icebrick restore"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from icebrick.app import image_run, opened_cloud, this_host, volume_run
from icebrick.attach.device import open_image
from icebrick.cli.command import command, refuse_all_but, said, settings_for
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.output import Output, size_text, write_stdout
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.cli.unwired import refuse_restore
from icebrick.config.options import RESTORE, RESTORE_FROM_DATE, SINGLE_VOLUME_ID, SNAPSHOT, VERIFY
from icebrick.engine.block.restore import dump_image
from icebrick.errors import IcebrickError, UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.images import Images
from icebrick.workflow.naming import volume_of_path
from icebrick.workflow.report import Receipt, RestoreReport, to_json
from icebrick.workflow.request import RestoreRequest, TargetRequest
from icebrick.workflow.restore import Restorable, VerificationError, restore_to_path, verify
from icebrick.workflow.scope import Scope, ScopeKind
from icebrick.workflow.select import choose_any, choose_image, choose_volume
from icebrick.workflow.volume_restore import RestoreOptions, plan_volume_restore, run_volume_restore

TARGET_OPTIONS = (SINGLE_VOLUME_ID, SNAPSHOT, RESTORE_FROM_DATE, VERIFY)
"""Those that a restore without a cloud has too."""

EXAMPLES = """
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --verify
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --restore-from-date 2026-11-20
icebrick -r main --cloud prod restore --all-tenant-volumes --filter 'name=db-*' --restore-from-date 2026-11-20T06:00
icebrick -r main restore --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --to-cloud spare --map-type ssd=nvme
icebrick -r /srv/backup restore --snapshot 4f0b9f6e --target /srv/images/volume.raw
icebrick -r /srv/backup restore --image-name disk1 --target /dev/vg0/disk1 --force --verify --receipt disk1.json
icebrick -r /srv/backup restore --image-name disk1 --target - | zstd > disk1.raw.zst
"""


@command("restore", examples=EXAMPLES)
@settings_for(RESTORE)
@click.option("--image-name", metavar="NAME", help="Restore this image.")
@click.option("--host", metavar="HOST", help="The image of this host; needed when several have one of that name.")
@click.option("--target", metavar="PATH|-", help="Restore to this file or device, or standard output: without a cloud.")
@click.option("--force", is_flag=True, help="Replace the target file, or overwrite the target device.")
@click.option("--receipt", type=Path, metavar="FILE", help="Write what --verify found to this file, as JSON.")
def restore(image_name: str | None, host: str | None, target: str | None, receipt: Path | None, *, force: bool) -> None:
    """Restore volumes in the cloud, or an image to a file or device.

    A volume that still exists is not changed: the backup is restored onto a copy of it, which needs only
    what differs. A volume that is gone is made again as it was. Either way the new volume's id is printed.

    With --target no cloud is needed.
    """
    invocation = this_invocation(stdout_is_data=target == "-")
    if receipt is not None and not invocation.settings.engine.verify:
        raise UsageError("--receipt needs --verify")
    if target is None:
        for what, value in {"--image-name": image_name, "--host": host, "--force": force}.items():
            if value:
                raise UsageError(f"{what} needs a --target")
        restore_volumes(invocation, receipt)
        return
    refuse_all_but(TARGET_OPTIONS, "volumes in the cloud, not for a --target")
    engine = invocation.settings.engine
    # A volume that the file names is not in the way of an image.
    volume_id = _only_volume(engine.scope) if said(SINGLE_VOLUME_ID) or not image_name else None
    request = TargetRequest(target, volume_id, image_name, host, engine.selection, replace=force, verify=engine.verify)
    _finish(invocation, receipt, lambda: _restore_to_target(invocation, request))


def restore_volumes(invocation: Invocation, receipt: Path | None = None) -> None:
    """What the settings say, wherever they come from."""
    request = invocation.settings.engine.restore_request()
    if request.remove_old and not invocation.settings.engine.yes:
        _ask_before_removal()
    refuse_restore(request)
    _finish(invocation, receipt, lambda: _restore_to_cloud(invocation, request))


def _ask_before_removal() -> None:
    question = "--remove-old-vol deletes each volume that is replaced, when its replacement is verified"
    if not sys.stdin.isatty():
        raise UsageError(question, hint='Confirm it with --yes, or in a job with "yes": true.')
    if not click.confirm(f"{question}. Go on?", err=True):
        raise IcebrickError("nothing was done, as it was not confirmed")


def _only_volume(scope: Scope | None) -> str | None:
    if scope is None or scope.kind is not ScopeKind.VOLUMES:
        return None
    if len(scope.ids) > 1:
        raise UsageError("a --target takes one volume")
    return scope.ids[0]


def _finish(invocation: Invocation, path: Path | None, act: Callable[[], RestoreReport | None]) -> None:
    """Tell what was done; the receipt is kept of what failed verification too."""
    try:
        report = act()
    except VerificationError as error:
        _keep_receipt(path, error.receipt)
        invocation.output.record("receipt", to_json(error.receipt))
        raise
    if report is not None:
        _keep_receipt(path, report.receipt)
        _tell(invocation.output, report)


def _restore_to_target(invocation: Invocation, request: TargetRequest) -> RestoreReport | None:
    """To a file, a device or standard output; there is nothing to report of the last."""
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
        report = restore_to_path(restorable, path, replace=request.replace, run_id=run.id, progress=progress)
        if request.verify:
            with open_image(path, direct=True) as source:
                report = replace(report, receipt=verify(restorable, source, str(path), progress))
    return report


def _choose(request: TargetRequest, images: Images) -> Snapshot:
    if request.volume_id is not None:
        return choose_volume(images.snapshots, request.volume_id, request.selection)
    if request.image_name is not None:
        return choose_image(images.snapshots, request.image_name, request.host, request.selection)
    return choose_any(images.snapshots, request.selection)


def _restore_to_cloud(invocation: Invocation, request: RestoreRequest) -> RestoreReport:
    options = RestoreOptions(verify=request.verify, meta_override=request.meta_override)
    with (
        opened_cloud(invocation.settings.cloud) as cloud,
        opened_repository(invocation, cloud.project().id) as repository,
        volume_run(this_host(invocation.settings.agent), cloud, repository, invocation.progress) as (access, images),
    ):
        volume_id = _only_volume(request.scope) or _volume_of(choose_any(images.snapshots, request.selection))
        plan = plan_volume_restore(cloud, images, volume_id, request.selection, options)
        return run_volume_restore(plan, access, invocation.progress)


def _volume_of(snapshot: Snapshot) -> str:
    volume_ids = [volume_id for path in snapshot.paths if (volume_id := volume_of_path(path)) is not None]
    if len(volume_ids) != 1:
        raise UsageError(f"snapshot {snapshot.id} is not of a volume", hint="Restore it with --target.")
    return volume_ids[0]


def _keep_receipt(path: Path | None, receipt: Receipt | None) -> None:
    if path is None or receipt is None:
        return
    try:
        path.write_text(json.dumps(to_json(receipt), indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write receipt {path}: {error.strerror}") from error


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
