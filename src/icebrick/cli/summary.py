"""What a run of several volumes did, as a table."""

from __future__ import annotations

from collections.abc import Mapping

from icebrick.cli.output import size_text, table
from icebrick.workflow.naming import volume_of_path
from icebrick.workflow.report import BackupReport, Failure, GroupBackup, ImageBackup

_HEAD = ("volume", "name", "result", "snapshot", "read", "new", "stored", "time", "reason")


def backup_table(report: BackupReport, names: Mapping[str, str]) -> str:
    """`names` by the volumes' ids."""
    rows = [
        *(_done(backup, names) for backup in report.backups),
        *(_failed(failure, names) for failure in report.failures),
        *((volume_id, names.get(volume_id, ""), "not begun", *[""] * 6) for volume_id in report.not_begun),
    ]
    return table(_HEAD, rows)


def _done(backup: ImageBackup, names: Mapping[str, str]) -> tuple[str, ...]:
    volume_id = volume_of_path(backup.path) or backup.path
    return (
        volume_id,
        names.get(volume_id, ""),
        "done",
        backup.snapshot_id[:8],
        size_text(backup.bytes_read),
        size_text(backup.bytes_new),
        size_text(backup.bytes_packed),
        seconds_text(backup),
        "",
    )


def _failed(failure: Failure, names: Mapping[str, str]) -> tuple[str, ...]:
    name = names.get(failure.volume_id or "", "")
    return (failure.volume_id or failure.subject, name, "failed", "", "", "", "", "", failure.message)


def group_line(group: GroupBackup) -> str:
    """What there is of the group as of one moment."""
    consistency = {
        True: "consistent",
        False: "not of one instant, which its type does not promise",
        None: "whether of one instant, an administrator can tell",
    }[group.consistent]
    state = f"restore point of {group.members} volumes, {consistency}"
    if not group.complete:
        state = f"no restore point, {group.backed_up} of {group.members} volumes"
    return f"group {group.group_id} {group.name}".rstrip() + f": {state}"


def seconds_text(backup: ImageBackup) -> str:
    """As `12.3 s`."""
    return f"{(backup.ended - backup.started).total_seconds():.1f} s"
