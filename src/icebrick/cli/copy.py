"""icebrick copy"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from icebrick.app import opened_backend
from icebrick.cli.command import Given, command
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.narrowing import narrowed
from icebrick.cli.output import Output, counted, size_text
from icebrick.cli.password import read_password
from icebrick.cli.repository import lock_wait, lockless, opened_repository, read_lock
from icebrick.cli.snapshots import snapshot_line
from icebrick.config.other import FROM_LOCATION, load_other_repository
from icebrick.errors import IncompleteError, UsageError
from icebrick.repository.repository import Repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.copy import CopyPlan, CopyReport, check_apart, plan_copy, run_copy
from icebrick.workflow.report import to_json
from icebrick.workflow.select import Narrowing, Selection, choose_any

EXAMPLES = """
icebrick -r sftp:vault:/srv/copy copy --from-repo /srv/backup --from-password-file /etc/icebrick/main.password
icebrick -r offsite copy --from-repo main --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f
icebrick -r offsite copy --from-repo main 4f0b9f6e 9a61c2d7 --dry-run
"""


@command("copy", examples=EXAMPLES)
@click.argument("snapshots", metavar="[SNAPSHOT]...", nargs=-1)
@click.option(
    "--from-repo",
    metavar="LOCATION",
    help="The repository to copy from, or the NAME of its [repository:NAME]. [$RESTIC_FROM_REPOSITORY]",
)
@click.option(
    "--from-password-file",
    metavar="FILE",
    help="File that holds its password. [$RESTIC_FROM_PASSWORD_FILE, $RESTIC_FROM_PASSWORD]",
)
@narrowed
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be copied.")
@lockless
def copy(
    snapshots: tuple[str, ...],
    from_repo: str | None,
    from_password_file: str | None,
    narrowing: Narrowing,
    *,
    dry_run: bool,
) -> None:
    """Copy snapshots from another repository.

    All of them, or those that are named or narrowed down, into that of -r. What was copied before, by this or by
    restic, is not copied again, and of the others only the data that this repository has not. All data is proven on
    the way. With --no-lock the repository that is read is not locked.
    """
    invocation = this_invocation()
    with (
        _opened_source(invocation, from_repo, from_password_file) as source,
        opened_repository(invocation) as target,
    ):
        check_apart(source, target)
        with read_lock(invocation, source), target.lock(wait=lock_wait(invocation)):
            chosen = _chosen(list(source.snapshots()), snapshots, narrowing)
            plan = plan_copy(chosen, target.snapshots())
            if dry_run:
                _tell_plan(invocation.output, plan)
                return
            report = CopyReport((), ())
            if plan.wanted:
                progress = invocation.progress
                blobs, there = source.load_index(progress), target.load_index(progress)
                report = run_copy(plan.wanted, blobs, target, there, progress)
    _tell(invocation.output, plan, report)


@contextmanager
def _opened_source(invocation: Invocation, location: str | None, password_file: str | None) -> Iterator[Repository]:
    location = location or os.environ.get(FROM_LOCATION)
    if not location:
        raise UsageError("no repository to copy from is named", hint="Use --from-repo LOCATION.")
    given = Given.of(click.get_current_context())
    file = None if given.config is None else Path(given.config).expanduser()
    settings = load_other_repository(location, password_file, given.values, os.environ, file=file)
    settings = settings.for_project(settings.project_id)
    if settings.password_file is None and settings.password is None and not sys.stdin.isatty():
        raise UsageError(
            "no password for the repository to copy from",
            hint="Name a file with --from-password-file, or set RESTIC_FROM_PASSWORD_FILE or RESTIC_FROM_PASSWORD.",
        )
    with opened_backend(settings, invocation.stop) as backend:
        yield open_repository(backend, read_password(settings))


def _chosen(snapshots: Sequence[Snapshot], names: Sequence[str], narrowing: Narrowing) -> list[Snapshot]:
    if not names:
        return list(filter(narrowing.takes, snapshots))
    ids = {choose_any(snapshots, Selection(name), narrowing).id for name in names}
    return [snapshot for snapshot in snapshots if snapshot.id in ids]


def _tell_plan(output: Output, plan: CopyPlan) -> None:
    lines = [f"would copy {snapshot_line(snapshot)}" for snapshot in plan.wanted]
    lines += [f"is there already: {snapshot_line(present.snapshot)}" for present in plan.present]
    record = {
        "message_type": "plan",
        "wanted": [snapshot.id for snapshot in plan.wanted],
        "present": _present_record(plan),
    }
    output.result("\n".join(lines or ["nothing to copy"]), record)


def _tell(output: Output, plan: CopyPlan, report: CopyReport) -> None:
    names = {snapshot.id: snapshot_line(snapshot) for snapshot in plan.wanted}
    lines = [
        f"copied {names[each.source_id]} as {each.target_id[:8]}: {size_text(each.bytes_new)} were new"
        for each in report.copied
    ]
    lines.append(f"{counted(len(report.copied), 'snapshot')} copied, {len(plan.present)} there already")
    output.result("\n".join(lines), {"message_type": "summary", **to_json(report), "present": _present_record(plan)})
    for failure in report.failures:
        output.warn(f"snapshot {failure.source_id} is not copied: {failure.message}")
    if report.failures:
        raise IncompleteError(
            f"{counted(len(report.failures), 'snapshot')} could not be copied",
            hint="The repository that was copied from is damaged; 'icebrick check' tells more.",
        )


def _present_record(plan: CopyPlan) -> list[dict[str, str | None]]:
    return [{"source_id": present.snapshot.id, "target_id": present.target_id} for present in plan.present]
