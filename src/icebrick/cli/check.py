"""icebrick check"""

from __future__ import annotations

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.output import counted, size_text
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.errors import CorruptDataError
from icebrick.repository.check import CheckReport, check_repository
from icebrick.workflow.report import to_json

EXAMPLES = """
icebrick -r /srv/backup check
icebrick -r /srv/backup check --read-data --json
"""


@command("check", examples=EXAMPLES)
@click.option("--read-data", is_flag=True, help="Read all data too, and prove every block of it.")
def check(*, read_data: bool) -> None:
    """Look for damage in the repository.

    Ends with 1 when there is any. Without --read-data the data itself is not read, only that it is there.
    """
    invocation = this_invocation()
    with (
        opened_repository(invocation) as repository,
        repository.lock(wait=lock_wait(invocation)),
    ):
        report = check_repository(repository, read_data=read_data, progress=invocation.progress)
        invocation.output.result(_text(report), {"message_type": "summary", **to_json(report)})
        if report.problems:
            raise CorruptDataError(
                f"{repository.backend.location} is damaged: {counted(len(report.problems), 'problem')}",
                hint="Snapshots that need nothing of what is damaged can still be restored.",
            )


def _text(report: CheckReport) -> str:
    counted = f"checked {report.snapshots} snapshots, {report.index_files} index files, {report.packs} packs"
    if report.bytes_read:
        counted += f", read {size_text(report.bytes_read)}"
    lines = [f"problem: {problem}" for problem in report.problems] or ["no problems"]
    return "\n".join([counted, *lines, *(f"hint: {hint}" for hint in report.hints)])
