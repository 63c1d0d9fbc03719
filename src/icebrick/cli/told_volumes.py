"""What a restore of volumes tells."""

from __future__ import annotations

from collections.abc import Iterator

from icebrick.cli.output import Output, counted, one_line, size_text, table
from icebrick.cli.restored import verified_text
from icebrick.errors import IcebrickError, IncompleteError, Interrupted
from icebrick.workflow.report import to_json
from icebrick.workflow.restoring.outcome import (
    Filled,
    FilledFiles,
    GroupRestore,
    RestoreFailure,
    VolumeRestore,
    VolumesReport,
    Way,
)

MOST_PROBLEMS = 10
"""Files of a volume that are told one by one."""
_HEAD = ("volume", "result", "restored to", "written", "already right", "time", "remarks")
_ONTO = {Way.COPY: "onto a copy", Way.IN_PLACE: "in place", Way.NEW: "onto a new volume"}


def tell_volumes(output: Output, report: VolumesReport) -> None:
    """The result; then the error that ends the command, when not all was done."""
    attempts = len(report.restores) + len(report.failures) + len(report.not_begun)
    if attempts > 1 or report.restores or output.as_json:
        lines = [_table(report)] if attempts > 1 else []
        for restored in report.restores:
            lines += _handing_over(restored) if attempts > 1 else _lines(restored)
        lines += (one_line(_group_text(group)) for group in report.groups)
        output.result("\n".join(lines), {"message_type": "summary", **to_json(report)})
    for skipped in report.skipped:
        output.say(f"skipped volume {skipped.volume_id}: it {skipped.reason}")
    for restored in report.restores:
        _warn_of_problems(output, restored)
    output.warn_of_leftovers(report.leftovers)
    _fail(output, report, attempts)


def _group_text(group: GroupRestore) -> str:
    if not group.restored:
        return f"group {group.source_id}: not restored, and nothing of it stays"
    where = "" if group.new_group_id is None else f", in the new group {group.new_group_id}"
    return f"group {group.source_id}: all {counted(group.members, 'volume')} restored as of one moment{where}"


def _lines(restored: VolumeRestore) -> Iterator[str]:
    yield (
        f"restored snapshot {restored.snapshot_id[:8]} to volume {restored.volume_id}, {_ONTO[restored.way]} because "
        f"{restored.reason}: {_filled_text(restored.filled)}"
    )
    if restored.receipt is not None:
        yield verified_text(restored.receipt)
    yield from _remarks(restored)
    yield from _handing_over(restored)


def _filled_text(filled: Filled | FilledFiles) -> str:
    written = f"written {size_text(filled.bytes_written)}, already right {_already_right(filled)}"
    if isinstance(filled, Filled):
        return f"{size_text(filled.size)}, {written}"
    return f"{counted(filled.restored, 'file')} made or changed, {filled.removed} removed, {written}"


def _already_right(filled: Filled | FilledFiles) -> str:
    if isinstance(filled, Filled):
        return size_text(filled.bytes_matching)
    return counted(filled.unchanged, "file")


def _problems(restored: VolumeRestore) -> int:
    return restored.filled.problems if isinstance(restored.filled, FilledFiles) else 0


def _remarks(restored: VolumeRestore) -> Iterator[str]:
    if problems := _problems(restored):
        yield f"{counted(problems, 'file')} not as in the backup"
    yield from map(_safety_text, restored.safety_snapshot_ids)
    if restored.removed_volume_id is not None:
        yield f"removed the replaced volume {restored.removed_volume_id}"
    if restored.encryption is not None:
        yield restored.encryption.how
    if restored.not_restored:
        yield f"not restored: {', '.join(each.attribute for each in restored.not_restored)}"


def _safety_text(snapshot_id: str) -> str:
    return f"what it held before is kept in volume snapshot {snapshot_id}"


def _handing_over(restored: VolumeRestore) -> Iterator[str]:
    if restored.offer is not None:
        offer = restored.offer
        yield (
            f"volume {restored.volume_id} waits for somebody in project {restored.project_id} to run: openstack "
            f"volume transfer request accept --auth-key {offer.key.reveal()} {offer.transfer_id}"
        )


def _table(report: VolumesReport) -> str:
    rows = [
        *map(_done, report.restores),
        *map(_failed, report.failures),
        *((volume_id, "not begun", *[""] * 5) for volume_id in report.not_begun),
    ]
    return table(_HEAD, rows)


def _done(restored: VolumeRestore) -> tuple[str, ...]:
    return (
        restored.source_id,
        restored.way.value,
        restored.volume_id,
        size_text(restored.filled.bytes_written),
        _already_right(restored.filled),
        f"{(restored.ended - restored.started).total_seconds():.1f} s",
        "; ".join([restored.reason, *_remarks(restored)]),
    )


def _failed(failure: RestoreFailure) -> tuple[str, ...]:
    return (failure.volume_id or failure.subject, "failed", "", "", "", "", _why(failure))


def _why(failure: RestoreFailure) -> str:
    """With where to find what may have been overwritten."""
    return "; ".join([failure.message, *map(_safety_text, failure.safety_snapshot_ids)])


def _fail(output: Output, report: VolumesReport, attempts: int) -> None:
    """A lone failure is the command's own; of several, each is told, and the command was done in part."""
    failures = report.failures
    if attempts == 1 and failures:
        _raise_lone(output, failures[0])
    if report.interrupted:
        raise Interrupted(f"interrupted when {len(report.restores)} of {attempts} volumes were restored")
    for failure in failures:
        output.warn(f"{failure.subject} was not restored: {_why(failure)}")
    kept = [each for each in report.restores if each.not_removed is not None]
    for restored in kept:
        output.warn(f"volume {restored.source_id} was replaced and not removed: {restored.not_removed}")
    if failures:
        raise IncompleteError(f"{len(failures)} of {attempts} volumes were not restored")
    if kept:
        raise IncompleteError(f"{counted(len(kept), 'replaced volume')} could not be removed")
    problems = sum(map(_problems, report.restores))
    if problems:
        raise IncompleteError(f"{counted(problems, 'file')} could not be restored as in the backup")


def _warn_of_problems(output: Output, restored: VolumeRestore) -> None:
    """Which files; with --json the result has told it."""
    if isinstance(restored.filled, FilledFiles) and not output.as_json:
        for problem in restored.filled.first_problems[:MOST_PROBLEMS]:
            output.warn(f"volume {restored.volume_id}: {problem.path}: {problem.reason}")


def _raise_lone(output: Output, failure: RestoreFailure) -> None:
    if failure.receipt is not None:
        output.record("receipt", to_json(failure.receipt))
    error = IcebrickError(_why(failure), hint=failure.hint)
    error.exit_code = failure.exit_code
    raise error
