"""icebrick restore --target: to this host, without a cloud."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from icebrick.app import image_run
from icebrick.attach.device import open_image
from icebrick.cli.invocation import Invocation
from icebrick.cli.output import write_stdout
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.cli.restored import keep_receipt, keeping_receipt_of_mismatches, tell_restored
from icebrick.engine.block.restore import dump_image
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.images import Images
from icebrick.workflow.report import RestoreReport
from icebrick.workflow.request import TargetRequest
from icebrick.workflow.restore import Restorable, restore_to_path, verify
from icebrick.workflow.select import choose_any, choose_image, choose_volume


def restore_to_target(invocation: Invocation, request: TargetRequest, receipt: Path | None) -> None:
    """Do it and tell; the receipt of a verification is kept."""
    with keeping_receipt_of_mismatches(invocation.output, receipt):
        report = _restore(invocation, request)
    if report is not None:
        keep_receipt(receipt, report.receipt)
        tell_restored(invocation.output, report)


def _restore(invocation: Invocation, request: TargetRequest) -> RestoreReport | None:
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
