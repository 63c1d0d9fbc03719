"""icebrick cleanup"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from icebrick.app import opened_backend, opened_cloud, this_host
from icebrick.backend.wrap.dryrun import DryRunBackend
from icebrick.cli.command import command
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.password import read_password
from icebrick.cloud.leftovers import kind_and_id
from icebrick.errors import IncompleteError
from icebrick.repository.repository import open_repository
from icebrick.run import Run
from icebrick.workflow.cleanup import (
    CleanupPlan,
    CleanupReport,
    joined_plans,
    joined_reports,
    plan_cleanup,
    reachable_clouds,
    run_cleanup,
)
from icebrick.workflow.report import to_json

EXAMPLES = """
icebrick --cloud prod cleanup --dry-run
icebrick --cloud prod -r main cleanup
icebrick --cloud prod cleanup --run 20261123T061500Z-1f2e3d4c
"""


@command("cleanup", examples=EXAMPLES)
@click.option(
    "--run", "runs", metavar="ID", multiple=True, help="Also of this run, which you know has ended; repeatable."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
def cleanup(runs: tuple[str, ...], *, dry_run: bool) -> None:
    """Remove what killed runs left in the cloud.

    Every backup and restore does this at its start for the dead runs of its host. Runs of other hosts are
    listed, and removed only when they are named: nobody here can tell whether they are still at work.

    Volumes that such runs had taken from servers, for a cold backup, are attached to them again.

    With a repository, stale locks and unfinished files in it are removed too.
    """
    invocation = this_invocation()
    with opened_cloud(invocation.settings.cloud) as cloud:
        host = this_host(invocation.settings.agent)
        with reachable_clouds(cloud, host.registry) as clouds:
            plans = (plan_cleanup(each, host.registry, ended=frozenset(runs)) for each in clouds)
            if dry_run:
                planned = joined_plans(plans)
                text, record = _plan_text(planned), _plan_record(planned)
            else:
                done = zip(plans, clouds, strict=True)
                report = joined_reports(run_cleanup(plan, each, host.connector, host.registry) for plan, each in done)
                text, record = _report_text(report), {"message_type": "summary", **to_json(report)}
        in_repository = _clean_repository(invocation, cloud.project().id, dry_run=dry_run)
        lines = [text, *(f"{count} {what}" for what, count in in_repository.items() if count)]
        invocation.output.result("\n".join(lines), {**record, "repository": in_repository})
        if not dry_run and report.kept:
            raise IncompleteError(f"{len(report.kept)} leftovers could not be removed")


def _clean_repository(invocation: Invocation, project_id: str, *, dry_run: bool) -> dict[str, int]:
    """How many files of which kind were removed; nothing without a repository."""
    settings = invocation.settings.repository
    if settings.location is None:
        return {}
    settings = settings.for_project(settings.project_id or project_id)
    with opened_backend(settings) as backend:
        medium = DryRunBackend(backend) if dry_run else backend
        locks = open_repository(medium, read_password(settings)).remove_stale_locks()
        return {"stale locks": locks, "unfinished files": medium.sweep(datetime.now(UTC))}


def _plan_text(plan: CleanupPlan) -> str:
    resources = [f"would remove {kind_and_id(item)} ({item.name})" for item in plan.leftovers.made]
    resources += [f"would attach {note} again" for note in plan.leftovers.detached]
    resources += [
        f"would detach volume {item.volume_id}, half restored in place; what it was is in volume snapshot {item.id}"
        for item in plan.leftovers.written
    ]
    return "\n".join([*(resources or ["nothing to remove"]), *map(_unknown, plan.unknown)])


def _plan_record(plan: CleanupPlan) -> dict[str, Any]:
    return {
        "message_type": "plan",
        "volumes": [volume.id for volume in plan.leftovers.volumes],
        "snapshots": [snapshot.id for snapshot in plan.leftovers.snapshots],
        "group_snapshots": [taken.id for taken in plan.leftovers.group_snapshots],
        "groups": [group.id for group in plan.leftovers.groups],
        "transfers": [transfer.id for transfer in plan.leftovers.transfers],
        "detached": [to_json(note.attachment) for note in plan.leftovers.detached],
        "half_restored": [snapshot.volume_id for snapshot in plan.leftovers.written],
        "unknown": to_json(plan.unknown),
    }


def _report_text(report: CleanupReport) -> str:
    lines = [f"attached {what} again" for what in report.given_back]
    lines += [f"removed {what}" for what in report.removed]
    lines = lines or ["nothing removed"]
    for kept in report.kept:
        lines.append(f"could not remove {kept.what}: {kept.reason}")
        lines += [f"  {kept.hint}"] if kept.hint else []
    return "\n".join([*lines, *map(_unknown, report.unknown)])


def _unknown(run: Run) -> str:
    return f"run {run.id} of host {run.host} may be at work; name it with --run if you know that it has ended"
