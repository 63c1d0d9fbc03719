"""icebrick run"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from icebrick.cli.backup import back_up_volumes
from icebrick.cli.command import command, refuse_all_but, settings_for
from icebrick.cli.invocation import this_invocation
from icebrick.cli.restore_volumes import restore_volumes
from icebrick.config.job import STANDARD_INPUT, job_options, load_job, parse_job
from icebrick.config.options import BACKUP, RESTORE
from icebrick.errors import UsageError

EXAMPLES = """
icebrick run nightly.json
icebrick run nightly.json --dry-run
echo '{"action": "backup", "repository": "main", "all_tenant_volumes": true}' | icebrick run -
"""


@command("run", examples=EXAMPLES)
@click.argument("job", type=click.Path(allow_dash=True), metavar="JOB|-")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be backed up.")
@settings_for(BACKUP, RESTORE)
def run(job: str, *, dry_run: bool) -> None:
    """Do what a job says: a JSON file, or standard input.

    {"action": "backup"} or {"action": "restore"}, with the options of that command as keys. What the command line
    says counts more.
    """
    given = parse_job(sys.stdin.buffer.read(), "standard input") if job == STANDARD_INPUT else load_job(Path(job))
    invocation = this_invocation(job=given)
    refuse_all_but(job_options(given.action), f"a {BACKUP if given.action == RESTORE else RESTORE}, and not this job")
    if given.action == BACKUP:
        back_up_volumes(invocation, dry_run=dry_run)
    elif dry_run:
        raise UsageError("--dry-run is for backups")
    else:
        restore_volumes(invocation)
