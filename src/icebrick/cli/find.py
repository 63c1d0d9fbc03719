"""icebrick find"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from icebrick.cli.command import command
from icebrick.cli.entries import fail_if_unreadable, tell_entry
from icebrick.cli.invocation import this_invocation
from icebrick.cli.narrowing import narrowed
from icebrick.cli.output import Output
from icebrick.cli.repository import lockless, opened_images
from icebrick.cli.snapshots import snapshot_line
from icebrick.engine.file.select import select
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.treecache import TreeCache
from icebrick.workflow.browse import Search, search_snapshot
from icebrick.workflow.select import Narrowing, Selection, choose_any

EXAMPLES = """
icebrick -r /srv/backup find nginx.conf
icebrick -r /srv/backup find '*.pem' '*.key' --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f -l
icebrick -r /srv/backup find '/files/home/*/.ssh' --snapshot latest --json
"""


@command("find", examples=EXAMPLES)
@click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True)
@click.option("--snapshot", "wanted", metavar="latest|ID", multiple=True, help="Only in this snapshot; repeatable.")
@narrowed
@click.option("-l", "--long", is_flag=True, help="Tell permissions, owner, group, size and time, too.")
@lockless
def find(patterns: tuple[str, ...], wanted: tuple[str, ...], narrowing: Narrowing, *, long: bool) -> None:
    """Find files in all snapshots.

    The oldest comes first. A PATTERN has *, ? and [...] for parts of a name, and ** for any number of directories.
    One that begins with / begins at a snapshot's root, where a volume's files are below /files; any other matches at
    every depth. What is in a directory that matches is found, too.
    """
    invocation = this_invocation()
    selection = select(patterns)
    with opened_images(invocation) as images:
        search = Search(TreeCache(images.store), selection)
        hits = 0
        for snapshot in _chosen(images.snapshots, wanted, narrowing):
            hits += _show(invocation.output, search, snapshot, long=long)
    if not hits:
        invocation.output.say("nothing was found")
    fail_if_unreadable(invocation.output, search.problems)


def _chosen(snapshots: Sequence[Snapshot], wanted: Sequence[str], narrowing: Narrowing) -> Iterator[Snapshot]:
    if not wanted:
        return filter(narrowing.takes, snapshots)
    chosen = {
        snapshot.id: snapshot for name in wanted for snapshot in [choose_any(snapshots, Selection(name), narrowing)]
    }
    return iter(chosen.values())


def _show(output: Output, search: Search, snapshot: Snapshot, *, long: bool) -> int:
    """How much was found."""
    hits = 0
    for hits, found in enumerate(search_snapshot(search, snapshot), 1):
        if hits == 1 and not output.as_json:
            output.line(f"{snapshot_line(snapshot)}:")
        tell_entry(output, found, {"message_type": "match", "snapshot": snapshot.id}, long=long)
    return hits
