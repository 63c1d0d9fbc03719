"""icebrick stats"""

from __future__ import annotations

from typing import Any

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.narrowing import Filter, filtered
from icebrick.cli.output import size_text
from icebrick.cli.repository import lockless, opened_repository, read_lock
from icebrick.workflow.select import Selection, choose_any
from icebrick.workflow.stats import Stats, StatsMode, count_stats

EXAMPLES = """
icebrick -r main stats --mode raw-data
icebrick -r main stats --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --json
icebrick -r main stats latest
"""


@command("stats", examples=EXAMPLES)
@click.argument("ids", metavar="[latest|SNAPSHOT]...", nargs=-1)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in StatsMode]),
    default=StatsMode.RESTORE_SIZE.value,
    show_default=True,
    help="What is counted: what a restore of each snapshot would take; every different content once; "
    "what is stored for them.",
)
@filtered
@lockless
def stats(ids: tuple[str, ...], mode: str, wanted: Filter) -> None:
    """Count what snapshots hold: those that are named, or all.

    With --mode raw-data, what several snapshots share is counted once; so for a volume it is what its backups take,
    of which some may be shared with other volumes.
    """
    invocation = this_invocation()
    with opened_repository(invocation) as repository, read_lock(invocation, repository):
        there = list(filter(wanted.takes, repository.snapshots()))
        named = {snapshot.id: snapshot for snapshot in (choose_any(there, Selection(name)) for name in ids)}
        counted = count_stats(repository, named.values() if ids else there, StatsMode(mode), invocation.progress)
    invocation.output.result(_text(counted, StatsMode(mode)), _record(counted, StatsMode(mode)))


def _text(counted: Stats, mode: StatsMode) -> str:
    lines = [f"snapshots: {counted.snapshots}"]
    if mode is StatsMode.RAW_DATA:
        lines.append(f"blobs:     {counted.blobs}")
        lines.append(f"stored:    {size_text(counted.size)}")
        lines.append(f"held:      {size_text(counted.uncompressed_size)} ({_ratio(counted):.2f} times as much)")
    else:
        lines.append(f"files:     {counted.files}")
        lines.append(f"size:      {size_text(counted.size)}")
    return "\n".join(lines)


def _record(counted: Stats, mode: StatsMode) -> dict[str, Any]:
    """Restic's names."""
    record: dict[str, Any] = {"total_size": counted.size, "snapshots_count": counted.snapshots}
    if mode is not StatsMode.RAW_DATA:
        return {**record, "total_file_count": counted.files}
    return {
        **record,
        "total_blob_count": counted.blobs,
        "total_uncompressed_size": counted.uncompressed_size,
        "compression_ratio": _ratio(counted),
    }


def _ratio(counted: Stats) -> float:
    return counted.uncompressed_size / counted.size if counted.size else 1.0
