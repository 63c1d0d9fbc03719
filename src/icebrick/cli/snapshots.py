"""icebrick snapshots"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.narrowing import narrowed
from icebrick.cli.output import counted, size_text, table
from icebrick.cli.proofs import proof_records, proof_text
from icebrick.cli.repository import opened_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.naming import MODE, NAME, tagged
from icebrick.workflow.points import RestorePoint, group_points
from icebrick.workflow.receipts import Receipts
from icebrick.workflow.select import Narrowing

EXAMPLES = """
icebrick -r /srv/backup snapshots
icebrick -r /srv/backup snapshots --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --json
icebrick -r /srv/backup snapshots --image-name disk1
"""


@command("snapshots", examples=EXAMPLES)
@narrowed
def snapshots(narrowing: Narrowing) -> None:
    """List what is in the repository.

    The oldest comes first. Of groups, it is told which restore points are complete: others cannot be restored as a
    group. And of each, how and when it was last verified from this host.
    """
    invocation = this_invocation()
    with opened_repository(invocation) as repository:
        there = list(repository.snapshots())
        receipts = Receipts(invocation.settings.agent.state_dir, repository.id)
    wanted = list(filter(narrowing.takes, there))
    ids = {snapshot.id for snapshot in wanted}
    points = [point for point in group_points(there) if not ids.isdisjoint(member.id for member in point.members)]
    told = {snapshot.id: _point_record(point) for point in points for snapshot in point.members}
    proofs = {snapshot.id: receipts.of(snapshot.id or "") for snapshot in wanted}
    records = [
        snapshot_record(snapshot)
        | ({"restore_point": told[snapshot.id]} if snapshot.id in told else {})
        | ({"verified": proof_records(proofs[snapshot.id])} if proofs[snapshot.id] else {})
        for snapshot in wanted
    ]
    now = datetime.now(UTC)
    verified = {snapshot_id: proof_text(found, now) for snapshot_id, found in proofs.items()}
    invocation.output.result("\n".join([_text(wanted, verified), *_points_text(points)]), records)
    failed = [(snapshot.id or "")[:8] for snapshot in wanted if not all(each.ok for each in proofs[snapshot.id])]
    if failed:
        invocation.output.warn(
            f"the last verification failed of {counted(len(failed), 'snapshot')}: {', '.join(failed)}"
        )


def snapshot_line(snapshot: Snapshot) -> str:
    """Which one it is, for people."""
    name = tagged(snapshot.tags, NAME)
    called = f" ({name})" if name else ""
    return f"snapshot {(snapshot.id or '')[:8]} of {', '.join(snapshot.paths)}{called}, {moment_text(snapshot)}"


def moment_text(snapshot: Snapshot) -> str:
    """When it was made, in local time."""
    return f"{snapshot.time.to_datetime().astimezone():%Y-%m-%d %H:%M:%S}"


def _text(snapshots: list[Snapshot], verified: Mapping[str | None, str]) -> str:
    head = ("id", "time", "host", "path", "mode", "name", "size", "verified")
    rows = [
        (
            (snapshot.id or "")[:8],
            moment_text(snapshot),
            snapshot.hostname,
            ", ".join(snapshot.paths),
            tagged(snapshot.tags, MODE) or "",
            tagged(snapshot.tags, NAME) or "",
            "" if snapshot.summary is None else size_text(snapshot.summary.total_bytes_processed),
            verified[snapshot.id],
        )
        for snapshot in snapshots
    ]
    return f"{table(head, rows)}\n{counted(len(rows), 'snapshot')}"


def _points_text(points: Sequence[RestorePoint]) -> Iterator[str]:
    if points:
        head = ("group", "restore point", "time", "volumes", "state")
        rows = [
            (
                point.group_id,
                point.group_snapshot_id,
                moment_text(point.members[0]),
                f"{len(point.members)} of {'?' if point.size is None else point.size}",
                "complete" if point.is_complete else "incomplete",
            )
            for point in points
        ]
        yield f"\n{table(head, rows)}\n{counted(len(rows), 'restore point')} of groups"


def _point_record(point: RestorePoint) -> dict[str, Any]:
    return {
        "group_id": point.group_id,
        "group_snapshot_id": point.group_snapshot_id,
        "members": point.size,
        "present": len(point.members),
        "complete": point.is_complete,
    }


def snapshot_record(snapshot: Snapshot) -> dict[str, Any]:
    """Restic's names."""
    record: dict[str, Any] = {
        "time": str(snapshot.time),
        "tree": snapshot.tree.hex(),
        "paths": list(snapshot.paths),
        "hostname": snapshot.hostname,
        "tags": list(snapshot.tags),
        "program_version": snapshot.program_version,
        "id": snapshot.id,
        "short_id": (snapshot.id or "")[:8],
    }
    if snapshot.parent:
        record["parent"] = snapshot.parent
    if snapshot.summary is not None:
        record["total_bytes_processed"] = snapshot.summary.total_bytes_processed
        record["data_added_packed"] = snapshot.summary.data_added_packed
    return record
