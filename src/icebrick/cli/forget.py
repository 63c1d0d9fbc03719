"""icebrick forget"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from icebrick.cli.command import Given, command, settings_for
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.narrowing import Filter, filtered
from icebrick.cli.output import counted, table
from icebrick.cli.prune import figures_record, plan_text, prune_repository
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.cli.snapshots import moment_text, snapshot_record
from icebrick.config.keep import FORGET, KEEP_OPTIONS, KEEP_TAG
from icebrick.errors import UsageError
from icebrick.repository.prune.execute import PruneOptions, plan_prune
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import now
from icebrick.workflow.forget import (
    ForgetGroup,
    ForgetPlan,
    parse_grouping,
    plan_forget,
    plan_forget_named,
    run_forget,
)
from icebrick.workflow.naming import NAME, tagged

EXAMPLES = """
icebrick -r main forget --dry-run --keep-daily 7 --keep-weekly 5 --keep-monthly 12
icebrick -r main forget --keep-within 14d --keep-tag yearly --prune
icebrick -r main forget --single-volume-id 6c9f0e2a-6d5e-4f0b-9f6e-3c1a2b4d5e6f --keep-last 1
icebrick -r main forget 4f0b9f6e 1a2b4d5e
"""


def _keep_tags(context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        Given.of(context).values[KEEP_TAG] = ";".join(value)


@command(FORGET, examples=EXAMPLES)
@click.argument("ids", metavar="[SNAPSHOT]...", nargs=-1)
@settings_for(FORGET)
@click.option(
    "--keep-tag",
    metavar="TAG[,TAG...]",
    multiple=True,
    expose_value=False,
    callback=_keep_tags,
    help="Keep all that have these tags; repeatable.",
)
@filtered
@click.option(
    "-g",
    "--group-by",
    "grouping",
    metavar="host,paths,tags",
    default="host,paths",
    show_default=True,
    help="What snapshots that are judged together have in common. By default these are those of one volume.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be forgotten.")
@click.option(
    "--prune", is_flag=True, help="When any are forgotten, remove what they alone needed: see 'icebrick prune'."
)
@click.option("--unsafe-allow-remove-all", is_flag=True, help="A group may lose all its snapshots.")
def forget(
    ids: tuple[str, ...],
    wanted: Filter,
    grouping: str,
    *,
    dry_run: bool,
    prune: bool,
    unsafe_allow_remove_all: bool,
) -> None:
    """Forget snapshots by rules, or by their ids.

    Those go that no rule keeps. The rules are those of the options --keep-...; without any, those of the
    configuration's repository. They judge the snapshots of each volume by themselves. A snapshot whose time lies in
    the future is kept, and is not counted. Of a group of volumes, a restore point stays whole or goes whole.

    What was stored for a snapshot is removed by the next prune, unless another needs it.
    """
    invocation = this_invocation()
    if ids:
        _refuse_rules(wanted)

    def planned(repository: Repository) -> ForgetPlan:
        there = list(repository.snapshots())
        if ids:
            return plan_forget_named(there, ids)
        policy = invocation.settings.retention
        return plan_forget(there, wanted.takes, policy, grouping=parse_grouping(grouping), now=now())

    with opened_repository(invocation) as repository:
        if dry_run:
            plan = planned(repository)
            _tell(invocation, plan, "would be forgotten")
            if prune and plan.removed:
                _tell_prune(invocation, repository, plan)
            return
        with repository.lock(exclusive=True, wait=lock_wait(invocation)):
            plan = planned(repository)
            if not unsafe_allow_remove_all:
                plan.refuse_removing_all()
            run_forget(repository, plan, invocation.progress)
            _tell(invocation, plan, "forgotten")
            if prune and plan.removed:
                prune_repository(invocation, repository, PruneOptions())


def _refuse_rules(wanted: Filter) -> None:
    """UsageError when the command line has them besides ids."""
    said = Given.of(click.get_current_context()).values
    if not wanted.takes_all or any(option in said for option in KEEP_OPTIONS):
        raise UsageError("snapshots are forgotten by their ids or by rules, not by both at once")


def _tell_prune(invocation: Invocation, repository: Repository, plan: ForgetPlan) -> None:
    """What a prune would do when these are forgotten."""
    without = [snapshot.id for snapshot in plan.removed if snapshot.id is not None]
    with repository.lock(wait=lock_wait(invocation)):
        figures = plan_prune(repository, PruneOptions(), invocation.progress, without=without).figures
    invocation.output.result(plan_text(figures), {"message_type": "plan", **figures_record(figures)})


def _tell(invocation: Invocation, plan: ForgetPlan, done: str) -> None:
    for warning in plan.warnings:
        invocation.output.warn(warning)
    lines = [line for group in plan.groups for line in _group_text(group)]
    if not plan.groups:
        lines = [f"{done}: {snapshot.id}" for snapshot in plan.removed]
    lines.append(f"{counted(len(plan.removed), 'snapshot')} {done}")
    record = (
        [_group_record(group) for group in plan.groups]
        if plan.groups or not plan.removed
        else [_named_record(plan.removed)]
    )
    invocation.output.result("\n".join(lines), record)


def _group_text(group: ForgetGroup) -> Iterator[str]:
    yield f"{group.key}: {len(group.kept)} of {counted(len(group.verdicts), 'snapshot')} stay"
    rows = [
        (
            (verdict.snapshot.id or "")[:8],
            moment_text(verdict.snapshot),
            tagged(verdict.snapshot.tags, NAME) or "",
            "keep" if verdict.is_kept else "forget",
            ", ".join(verdict.reasons) or "no rule keeps it",
        )
        for verdict in group.verdicts
    ]
    yield table(("id", "time", "name", "verdict", "reasons"), rows)
    yield ""


def _group_record(group: ForgetGroup) -> dict[str, Any]:
    """Restic's names."""
    key = group.key
    return {
        "tags": None if key.tags is None else list(key.tags),
        "host": key.host or "",
        "paths": None if key.paths is None else list(key.paths),
        "keep": [snapshot_record(snapshot) for snapshot in group.kept],
        "remove": [snapshot_record(snapshot) for snapshot in group.removed],
        "reasons": [
            {
                "snapshot": snapshot_record(verdict.snapshot),
                "matches": list(verdict.reasons),
                "counters": {period.value: count for period, count in verdict.counters.items()},
            }
            for verdict in group.verdicts
            if verdict.is_kept
        ],
    }


def _named_record(removed: tuple[Snapshot, ...]) -> dict[str, Any]:
    """The same of snapshots that are forgotten by their ids."""
    records = [snapshot_record(snapshot) for snapshot in removed]
    return {"tags": None, "host": "", "paths": None, "keep": [], "remove": records, "reasons": []}
