"""What a restore tells, and the receipt it keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebrick.cli.output import Output, size_text
from icebrick.errors import UsageError
from icebrick.workflow.report import Receipt, RestoreReport, to_json
from icebrick.workflow.restore import VerificationError
from icebrick.workflow.restore_files import FilesReceipt


@contextmanager
def keeping_receipt_of_mismatches(output: Output, path: Path | None) -> Iterator[None]:
    """When a verification in the block fails, its receipt is told and kept, too."""
    try:
        yield
    except VerificationError as error:
        keep_receipt(path, error.receipt)
        output.record("receipt", to_json(error.receipt))
        raise


def keep_receipt(path: Path | None, receipt: Receipt | FilesReceipt | None) -> None:
    """Write it to the file, if both are there; UsageError when that fails."""
    if path is None or receipt is None:
        return
    try:
        path.write_text(json.dumps(to_json(receipt), indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write receipt {path}: {error.strerror}") from error


def tell_restored(output: Output, report: RestoreReport) -> None:
    """The result, and what is left behind."""
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
