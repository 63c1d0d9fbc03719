"""What a run of several volumes did, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from icebrick.cli.output import counted, one_line, size_text, table
from icebrick.workflow.encryption import Form
from icebrick.workflow.naming import volume_of_path
from icebrick.workflow.report import BackupReport, Failure, GroupBackup, SavedSnapshot

_HEAD = ("volume", "name", "result", "snapshot", "mode", "read", "new", "stored", "time", "reason")


def backup_table(report: BackupReport, names: Mapping[str, str]) -> str:
    """`names` by the volumes' ids."""
    rows = [
        *(_done(backup, names) for backup in report.backups),
        *(_failed(failure, names) for failure in report.failures),
        *((volume_id, names.get(volume_id, ""), "not begun", *[""] * 7) for volume_id in report.not_begun),
    ]
    return table(_HEAD, rows)


def _done(backup: SavedSnapshot, names: Mapping[str, str]) -> tuple[str, ...]:
    volume_id = volume_of_path(backup.path) or backup.path
    return (
        volume_id,
        names.get(volume_id, ""),
        "in part" if backup.problem_count else "done",
        backup.snapshot_id[:8],
        backup.mode.value,
        size_text(backup.bytes_read),
        size_text(backup.bytes_new),
        size_text(backup.bytes_packed),
        seconds_text(backup),
        "; ".join(remarks(backup)),
    )


def remarks(backup: SavedSnapshot) -> Iterator[str]:
    """What is not as one would like it to be."""
    if backup.problem_count:
        yield f"{counted(backup.problem_count, 'file')} not or not fully read"
    stored = backup.encryption
    if stored is not None and stored.form is not Form.DECRYPTED:
        yield f"encrypted, and read as it is stored{f': {stored.reason}' if stored.reason else ''}"
    if backup.mode_reason is not None:
        yield f"not file by file: {backup.mode_reason}"


def _failed(failure: Failure, names: Mapping[str, str]) -> tuple[str, ...]:
    name = names.get(failure.volume_id or "", "")
    return (failure.volume_id or failure.subject, name, "failed", *[""] * 6, failure.message)


def group_line(group: GroupBackup) -> str:
    """What there is of the group as of one moment."""
    consistency = {
        True: "consistent",
        False: "not of one instant, which its type does not promise",
        None: "whether of one instant, an administrator can tell",
    }[group.consistent]
    state = f"restore point of {counted(group.members, 'volume')}, {consistency}"
    if not group.complete:
        state = f"no restore point, {group.backed_up} of {group.members} volumes"
    return one_line(f"group {group.group_id} {group.name}".rstrip() + f": {state}")


def seconds_text(backup: SavedSnapshot) -> str:
    """As `12.3 s`."""
    return f"{(backup.ended - backup.started).total_seconds():.1f} s"
