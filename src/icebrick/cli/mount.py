"""icebrick mount"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.repository import lockless, opened_repository, read_lock
from icebrick.mount.serve import mounted
from icebrick.mount.view import View

EXAMPLES = """
icebrick -r /srv/backup mount /mnt/backup
ls -l /mnt/backup/volumes/6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f/latest/files/etc
losetup --find --show --read-only --partscan /mnt/backup/snapshots/latest/volume.raw
"""


@command("mount", examples=EXAMPLES)
@click.argument("mountpoint", type=click.Path(path_type=Path, readable=False))
@click.option("--allow-other", is_flag=True, help="Let other users look, too, as far as owners and permissions allow.")
@lockless
def mount(mountpoint: Path, *, allow_other: bool) -> None:
    """Show all snapshots as directories of this host.

    They can only be read. Stays until it is unmounted, or is asked to end by Ctrl-C or SIGTERM. Snapshots are below
    ids, snapshots (by time), volumes, names (by the volumes' names) and images. New ones appear within a minute or so.
    What cannot be read, as it is damaged, is an input/output error there, and told here.

    The repository stays locked meanwhile, so that nobody prunes it.
    """
    invocation = this_invocation()
    output = invocation.output
    with (
        opened_repository(invocation) as repository,
        read_lock(invocation, repository),
        mounted(View(repository), mountpoint, for_others=allow_other) as mount,
    ):
        output.say(f"mounted at {mountpoint}; end it with Ctrl-C, or 'umount {mountpoint}'")
        output.record("mounted", {"mountpoint": str(mountpoint)})
        with suppress(KeyboardInterrupt):
            mount.wait()
    output.say("unmounted")
