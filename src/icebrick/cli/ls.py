"""icebrick ls"""

from __future__ import annotations

import click

from icebrick.cli.command import command
from icebrick.cli.entries import fail_if_unreadable, tell_entry
from icebrick.cli.invocation import this_invocation
from icebrick.cli.narrowing import selecting
from icebrick.cli.repository import lockless, opened_images
from icebrick.cli.snapshots import snapshot_line, snapshot_record
from icebrick.repository.treecache import TreeCache
from icebrick.workflow.browse import Search, find_path, list_directory
from icebrick.workflow.select import Narrowing, Selection, choose_any

EXAMPLES = """
icebrick -r /srv/backup ls latest --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f
icebrick -r /srv/backup ls -l 4f0b9f6e /files/etc
icebrick -r /srv/backup ls 4f0b9f6e /files --recursive --json
"""


@command("ls", examples=EXAMPLES)
@selecting
@click.argument("path", metavar="[PATH]", default="/")
@click.option("-l", "--long", is_flag=True, help="Tell permissions, owner, group, size and time, too.")
@click.option("--recursive", is_flag=True, help="List all that is below, too.")
@lockless
def ls(path: str, selection: Selection, narrowing: Narrowing, *, long: bool, recursive: bool) -> None:
    """List what is in a snapshot.

    Paths begin at the snapshot's root: a volume's files are below /files, its image is /volume.raw. What cannot be
    printed in a name is shown as \\x1b or the like; --json has names as they are.
    """
    invocation = this_invocation()
    output = invocation.output
    with opened_images(invocation) as images:
        snapshot = choose_any(images.snapshots, selection, narrowing)
        trees = TreeCache(images.store)
        top = find_path(trees, snapshot, path)
        output.say(snapshot_line(snapshot))
        output.record("snapshot", {**snapshot_record(snapshot), "struct_type": "snapshot"})
        search = Search(trees)
        if top.node.type != "dir":
            listed = iter([top])
        elif recursive:
            listed = search.below(top)
        else:
            listed = iter(list_directory(trees, top))
        for found in listed:
            tell_entry(output, found, {"message_type": "node", "struct_type": "node"}, long=long)
    fail_if_unreadable(output, search.problems)
