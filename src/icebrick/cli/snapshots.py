"""icebrick snapshots"""

from __future__ import annotations

from typing import Any

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.output import counted, size_text, table
from icebrick.cli.repository import opened_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.naming import image_path, volume_path

EXAMPLES = """
icebrick -r /srv/backup snapshots
icebrick -r /srv/backup snapshots --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --json
icebrick -r /srv/backup snapshots --image-name disk1
"""


@command("snapshots", examples=EXAMPLES)
@click.option("--single-volume-id", "volume_ids", metavar="ID", multiple=True, help="Of this volume; repeatable.")
@click.option("--image-name", "image_names", metavar="NAME", multiple=True, help="Of this image; repeatable.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="With this tag; repeatable: with all of them.")
def snapshots(volume_ids: tuple[str, ...], image_names: tuple[str, ...], tags: tuple[str, ...]) -> None:
    """List what is in the repository.

    The oldest comes first.
    """
    paths = [*map(volume_path, volume_ids), *map(image_path, image_names)]
    invocation = this_invocation()
    with opened_repository(invocation) as repository:
        wanted = [
            snapshot
            for snapshot in repository.snapshots()
            if (not paths or any(path in paths for path in snapshot.paths)) and set(tags) <= set(snapshot.tags)
        ]
        invocation.output.result(_text(wanted), [_record(snapshot) for snapshot in wanted])


def _text(snapshots: list[Snapshot]) -> str:
    rows = [
        (
            (snapshot.id or "")[:8],
            f"{snapshot.time.to_datetime().astimezone():%Y-%m-%d %H:%M:%S}",
            snapshot.hostname,
            ", ".join(snapshot.paths),
            "" if snapshot.summary is None else size_text(snapshot.summary.total_bytes_processed),
        )
        for snapshot in snapshots
    ]
    count = "1 snapshot" if len(rows) == 1 else f"{counted(len(rows), 'snapshot')}"
    return f"{table(('id', 'time', 'host', 'path', 'size'), rows)}\n{count}"


def _record(snapshot: Snapshot) -> dict[str, Any]:
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
