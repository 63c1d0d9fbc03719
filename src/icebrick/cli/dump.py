"""icebrick dump"""

from __future__ import annotations

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.narrowing import selecting
from icebrick.cli.output import write_stdout
from icebrick.cli.repository import lockless, opened_images
from icebrick.repository.treecache import TreeCache
from icebrick.workflow.archive import dump_archive
from icebrick.workflow.browse import dump_file, find_path
from icebrick.workflow.select import Narrowing, Selection, choose_any

EXAMPLES = """
icebrick -r /srv/backup dump 4f0b9f6e /files/etc/fstab
icebrick -r /srv/backup dump latest volume.json --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f
icebrick -r /srv/backup dump 4f0b9f6e volume.raw > /dev/vg0/rescue
icebrick -r /srv/backup dump 4f0b9f6e /files/etc --archive tar | tar -tv
"""


@command("dump", examples=EXAMPLES)
@selecting
@click.argument("path", metavar="PATH")
@click.option("--archive", type=click.Choice(["tar"]), help="Write a directory, as an archive of this kind.")
@lockless
def dump(path: str, archive: str | None, selection: Selection, narrowing: Narrowing) -> None:
    """Write a file of a snapshot to standard output.

    Byte by byte as it was; or, with --archive, a directory and all that is below.
    Paths begin at the snapshot's root: a volume's files are below /files, its image is /volume.raw.
    """
    invocation = this_invocation(stdout_is_data=True)
    with opened_images(invocation) as images:
        snapshot = choose_any(images.snapshots, selection, narrowing)
        found = find_path(TreeCache(images.store), snapshot, path)
        if archive is None:
            dump_file(found, images.store, write_stdout, invocation.progress)
            return
        left_out = dump_archive(found, images.store, write_stdout)
    for problem in left_out:
        invocation.output.warn(f"{problem.path} is left out: {problem.reason}")
