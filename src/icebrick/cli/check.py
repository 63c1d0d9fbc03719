"""icebrick check"""

from __future__ import annotations

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.output import counted, size_text
from icebrick.cli.repository import lockless, opened_repository, read_lock
from icebrick.errors import CorruptDataError, UsageError
from icebrick.repository.check.check import CheckReport, check_repository
from icebrick.repository.check.subset import parse_subset
from icebrick.workflow.report import to_json

EXAMPLES = """
icebrick -r /srv/backup check
icebrick -r /srv/backup check --read-data --json
icebrick -r /srv/backup check --read-data-subset 1/7
icebrick -r /srv/backup check --read-data-subset 2.5%
"""


@command("check", examples=EXAMPLES)
@click.option("--read-data", is_flag=True, help="Read all data too, and prove every block of it.")
@click.option(
    "--read-data-subset",
    "subset",
    metavar="N/T|X%|SIZE",
    help="Read a part of the data: the N-th of T equal parts, the same ones each time; or by chance a share, or so "
    "much: 2.5%, 50G.",
)
@lockless
def check(subset: str | None, *, read_data: bool) -> None:
    """Look for damage in the repository.

    Ends with 1 when there is any. Without --read-data the data itself is not read, only that it is there. Nothing is
    taken from the cache: what is checked is what the storage has.
    """
    if read_data and subset is not None:
        raise UsageError("--read-data and --read-data-subset exclude each other")
    part = None if subset is None else parse_subset(subset)
    invocation = this_invocation()
    with (
        opened_repository(invocation, cached=False) as repository,
        read_lock(invocation, repository),
    ):
        report = check_repository(repository, read_data=read_data, subset=part, progress=invocation.progress)
        invocation.output.result(_text(report), {"message_type": "summary", **to_json(report)})
        if report.problems:
            raise CorruptDataError(
                f"{repository.backend.location} is damaged: {counted(len(report.problems), 'problem')}",
                hint="'icebrick repair' mends what can be mended. Snapshots that need nothing of what is damaged can "
                "still be restored.",
            )


def _text(report: CheckReport) -> str:
    counted = f"checked {report.snapshots} snapshots, {report.index_files} index files, {report.packs} packs"
    if report.bytes_read:
        counted += f", read {report.packs_read} of these, {size_text(report.bytes_read)}"
    lines = [f"problem: {problem}" for problem in report.problems] or ["no problems"]
    return "\n".join([counted, *lines, *(f"hint: {hint}" for hint in report.hints)])
