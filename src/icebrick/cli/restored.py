"""What a restore tells, and the receipt it keeps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from icebrick.cli.invocation import Invocation
from icebrick.cli.output import Output, size_text
from icebrick.errors import IcebrickError, UsageError
from icebrick.workflow.receipts import ProofKind, Receipts, Verification
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
    if receipt is not None:
        keep_receipts(path, [receipt])


def keep_receipts(path: Path | None, receipts: Sequence[Receipt | FilesReceipt]) -> None:
    """The same of several: a JSON array, unless it is one."""
    if path is None or not receipts:
        return
    try:
        kept = to_json(receipts if len(receipts) > 1 else receipts[0])
        path.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write receipt {path}: {error.strerror}") from error


def note_proofs(invocation: Invocation, repository_id: str, receipts: Iterable[Receipt | FilesReceipt | None]) -> None:
    """Whole snapshots that were restored and compared without a difference are proved. If not, that is the target's."""
    kept = Receipts(invocation.settings.agent.state_dir, repository_id)
    for receipt in receipts:
        if receipt is not None and not receipt.mismatches:
            try:
                kept.save(_proof(receipt))
            except IcebrickError as error:
                invocation.output.warn(str(error))


def _proof(receipt: Receipt | FilesReceipt) -> Verification:
    details = {"receipt": to_json(receipt)}
    return Verification(receipt.snapshot_id, ProofKind.RESTORE, receipt.ended, True, receipt.digest, details)


def tell_restored(output: Output, report: RestoreReport) -> None:
    """The result."""
    lines = [
        f"restored snapshot {report.snapshot_id[:8]} to {report.target}: {size_text(report.size)}, "
        f"written {size_text(report.bytes_written)}, already right {size_text(report.bytes_matching)}"
    ]
    if report.receipt is not None:
        lines.append(verified_text(report.receipt))
    output.result("\n".join(lines), {"message_type": "summary", **to_json(report)})


def verified_text(receipt: Receipt | FilesReceipt) -> str:
    """Of one without mismatches."""
    if isinstance(receipt, FilesReceipt):
        return (
            f"verified: {receipt.entries} entries, with {size_text(receipt.size)} of data in files, no differences; "
            f"{receipt.extra} more that are not in the backup; digest {receipt.digest}"
        )
    return (
        f"verified: {receipt.blocks} blocks, {receipt.zero_blocks} of them zeros, no differences, "
        f"digest {receipt.digest}"
    )
