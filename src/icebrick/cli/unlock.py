"""icebrick unlock"""

from __future__ import annotations

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.output import counted
from icebrick.cli.repository import opened_repository

EXAMPLES = """
icebrick -r main unlock
icebrick -r main unlock --remove-all
"""


@command("unlock", examples=EXAMPLES)
@click.option(
    "--remove-all",
    is_flag=True,
    help="All locks, also those of processes that live and those that cannot be read. Only when nobody uses it.",
)
def unlock(*, remove_all: bool) -> None:
    """Remove locks of processes that are gone.

    These are processes of this host that have ended, and any that have not refreshed their lock for 30 minutes.
    """
    invocation = this_invocation()
    with opened_repository(invocation) as repository:
        removed = repository.remove_all_locks() if remove_all else repository.remove_stale_locks()
    record = {"message_type": "summary", "removed": removed}
    invocation.output.result(f"{counted(removed, 'lock')} removed", record)
