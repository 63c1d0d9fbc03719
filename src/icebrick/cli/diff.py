"""icebrick diff"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.output import Output, counted, size_text
from icebrick.cli.repository import lockless, opened_repository, read_lock
from icebrick.cli.snapshots import snapshot_line
from icebrick.engine.block.compare import ImageDifference
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.diff import BlobChange, Change, Comparison, Counts
from icebrick.workflow.select import Selection, choose_any

EXAMPLES = """
icebrick -r main diff 4f0b9f6e latest
icebrick -r main diff 4f0b9f6e 1a2b4d5e --metadata --json
icebrick -r main diff 4f0b9f6e 1a2b4d5e --ranges
"""


@command("diff", examples=EXAMPLES)
@click.argument("older", metavar="latest|SNAPSHOT")
@click.argument("newer", metavar="latest|SNAPSHOT")
@click.option("--metadata", is_flag=True, help="Tell also of entries of which only attributes or times changed.")
@click.option("--ranges", is_flag=True, help="Tell which ranges of volumes' images differ.")
@lockless
def diff(older: str, newer: str, *, metadata: bool, ranges: bool) -> None:
    """Show what differs between two snapshots.

    + is new, - is gone, M has other content, T is of another kind, U has other attributes or times. Of a volume's
    image it is told how many blocks differ. Of a directory that became something else, what was in it is not listed.
    """
    invocation = this_invocation()
    output = invocation.output
    with opened_repository(invocation) as repository, read_lock(invocation, repository):
        there = list(repository.snapshots())
        first, second = (choose_any(there, Selection(name)) for name in (older, newer))
        output.say(f"from {snapshot_line(first)}\nto   {snapshot_line(second)}")
        comparison = Comparison(repository, first, second, invocation.progress)
        counts = Counts()
        for change in comparison.changes(metadata=metadata):
            counts.count(change)
            _tell_change(output, change)
        image = comparison.image()
        if image is not None:
            _tell_image(output, image, ranges=ranges)
        added, removed = comparison.blobs()
    _tell_counts(output, (first, second), counts, added, removed)


def _tell_change(output: Output, change: Change) -> None:
    record = {"message_type": "change", "path": change.shown, "modifier": change.modifier}
    output.line(json.dumps(record) if output.as_json else f"{change.modifier:<4} {change.shown}")


def _tell_image(output: Output, image: ImageDifference, *, ranges: bool) -> None:
    if output.as_json:
        record = {"block_size": image.block_size, "blocks": image.blocks, "changed_blocks": image.changed_blocks}
        spans = {"ranges": [[extent.offset, extent.length] for extent in image.ranges]} if ranges else {}
        output.record("image", {**record, "changed_size": image.changed_size, **spans})
        return
    output.line(
        f"image: {image.changed_blocks} of {counted(image.blocks, 'block')} of {size_text(image.block_size)} differ, "
        f"{size_text(image.changed_size)}"
    )
    for extent in image.ranges if ranges else ():
        output.line(f"     bytes {extent.offset} to {extent.end}, {size_text(extent.length)}")


def _tell_counts(
    output: Output, between: tuple[Snapshot, Snapshot], counts: Counts, added: BlobChange, removed: BlobChange
) -> None:
    first, second = between
    record: dict[str, Any] = {
        "source_snapshot": first.id,
        "target_snapshot": second.id,
        "changed_files": counts.changed_files,
        "added": asdict(counts.added) | _blobs_record(added),
        "removed": asdict(counts.removed) | _blobs_record(removed),
    }
    output.record("statistics", record)
    if output.as_json:
        return
    new, gone = counts.added, counts.removed
    output.line(f"files:      {new.files} new, {gone.files} removed, {counts.changed_files} changed")
    output.line(f"dirs:       {new.dirs} new, {gone.dirs} removed")
    output.line(f"others:     {new.others} new, {gone.others} removed")
    output.line(f"data blobs: {added.data.count} new, {removed.data.count} removed")
    output.line(f"tree blobs: {added.trees.count} new, {removed.trees.count} removed")
    output.line(f"added:      {size_text(added.size)}")
    output.line(f"removed:    {size_text(removed.size)}")


def _blobs_record(change: BlobChange) -> dict[str, int]:
    return {"data_blobs": change.data.count, "tree_blobs": change.trees.count, "bytes": change.size}
