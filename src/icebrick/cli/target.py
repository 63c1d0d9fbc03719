"""icebrick restore --target: to this host, without a cloud."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from icebrick.attach.device import open_image
from icebrick.cli.invocation import Invocation
from icebrick.cli.output import Output, counted, size_text, write_stdout
from icebrick.cli.repository import opened_images
from icebrick.cli.restored import keep_receipt, keeping_receipt_of_mismatches, note_proofs, tell_restored
from icebrick.engine.block.image import find_image
from icebrick.engine.block.restore import dump_image
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.engine.file.select import EVERYTHING
from icebrick.errors import IncompleteError, UsageError
from icebrick.progress import Progress
from icebrick.repository.snapshot import Snapshot
from icebrick.run import Run, new_run
from icebrick.workflow.images import Images
from icebrick.workflow.report import RestoreReport, to_json
from icebrick.workflow.request import TargetRequest
from icebrick.workflow.restore import Restorable, restore_to_path, verify
from icebrick.workflow.restore_files import (
    FilesReport,
    StoredFiles,
    find_files,
    restore_to_directory,
    verify_directory,
)
from icebrick.workflow.select import choose_any, choose_image, choose_volume

_TOLD = 100


def restore_to_target(invocation: Invocation, request: TargetRequest, receipt: Path | None) -> None:
    """Do it and tell; the receipt of a verification is kept. IncompleteError when something is not as it was."""
    with keeping_receipt_of_mismatches(invocation.output, receipt):
        report = _restore(invocation, request)
    if report is not None:
        keep_receipt(receipt, report.receipt)
    if isinstance(report, RestoreReport):
        tell_restored(invocation.output, report)
    elif report is not None:
        _tell_files(invocation.output, report)


def _restore(invocation: Invocation, request: TargetRequest) -> RestoreReport | FilesReport | None:
    """There is nothing to report of what went to standard output."""
    progress = invocation.progress
    run = new_run(datetime.now(UTC))
    with opened_images(invocation) as images:
        snapshot = _choose(request, images)
        image = find_image(images.store, snapshot.tree)
        report: RestoreReport | FilesReport | None
        if image is None:
            report = _restore_files(request, find_files(images.store, snapshot), run, progress)
        else:
            report = _restore_image(request, Restorable(snapshot, image, images), run, progress)
        if report is not None and request.files.selection == EVERYTHING:
            note_proofs(invocation, images.repository_id, [report.receipt])
        return report


def _choose(request: TargetRequest, images: Images) -> Snapshot:
    if request.volume_id is not None:
        return choose_volume(images.snapshots, request.volume_id, request.selection)
    if request.image_name is not None:
        return choose_image(images.snapshots, request.image_name, request.host, request.selection)
    return choose_any(images.snapshots, request.selection)


def _restore_image(
    request: TargetRequest, restorable: Restorable, run: Run, progress: Progress
) -> RestoreReport | None:
    path = Path(request.target)
    if path.is_dir() or request.files != FileRestoreOptions(overwrite=request.files.overwrite):
        raise UsageError(
            f"snapshot {restorable.snapshot.id} has the blocks of an image, and no single files",
            hint="Restore it to a file or device, and mount that; docs/howto/disaster-recovery.md tells how.",
        )
    if request.to_stdout:
        dump_image(restorable.image, restorable.images.store, write_stdout, progress=progress)
        return None
    report = restore_to_path(restorable, path, replace=request.replace, run_id=run.id, progress=progress)
    if request.verify:
        with open_image(path, direct=True) as source:
            report = replace(report, receipt=verify(restorable, source, str(path), progress))
    return report


def _restore_files(request: TargetRequest, stored: StoredFiles, run: Run, progress: Progress) -> FilesReport:
    if request.to_stdout or request.replace:
        raise UsageError(
            f"snapshot {stored.snapshot.id} has single files, which go into a directory",
            hint="Name one as target; there, overwrite says what is replaced. 'icebrick dump' writes one file to "
            "standard output.",
        )
    path = Path(request.target)
    report = restore_to_directory(stored, path, request.files, run_id=run.id, progress=progress)
    if request.verify:
        report = replace(report, receipt=verify_directory(stored, path, request.files.selection, progress))
    return report


def _tell_files(output: Output, report: FilesReport) -> None:
    lines = [
        f"restored snapshot {report.snapshot_id[:8]} to {report.target}: entries: {report.restored} made or changed, "
        f"{report.unchanged} right already, {report.kept} kept, {report.removed} removed; "
        f"written {size_text(report.bytes_written)}"
    ]
    receipt = report.receipt
    if receipt is not None:
        lines.append(
            f"verified: entries: {receipt.entries}, of which {receipt.mismatches} differ; {size_text(receipt.size)} of "
            f"data in files; not in the backup: {receipt.extra}; digest {receipt.digest}"
        )
    output.result("\n".join(lines), {"message_type": "summary", **to_json(report)})
    if report.owners_refused:
        output.warn(f"of these, {report.owners_refused} have another owner now: only root can give files away")
    mismatches = () if receipt is None else receipt.first_mismatches
    for problem in [*report.first_problems, *mismatches][:_TOLD]:
        output.warn(f"{problem.path}: {problem.reason}")
    if report.problems:
        raise IncompleteError(f"not everything could be restored as it was: {counted(report.problems, 'problem')}")
    if receipt is not None and receipt.mismatches:
        raise IncompleteError(f"{report.target} is not as in the backup: {counted(receipt.mismatches, 'difference')}")
