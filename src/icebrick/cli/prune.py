"""icebrick prune"""

from __future__ import annotations

import re
from typing import Any

import click

from icebrick.cli.command import command
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.output import counted, size_text
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.errors import UsageError
from icebrick.repository.prune.execute import (
    Amount,
    PruneFigures,
    PruneOptions,
    PruneResult,
    execute_prune,
    plan_prune,
)
from icebrick.repository.repository import Repository
from icebrick.workflow.report import to_json

EXAMPLES = """
icebrick -r main prune
icebrick -r main prune --dry-run
icebrick -r main prune --max-unused 20% --max-repack-size 50G
icebrick -r main prune --max-unused unlimited
"""

_SIZE = re.compile(r"([0-9]{1,15})([BKMGT])", re.IGNORECASE)
_PERCENT = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,6})?)%")
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@command("prune", examples=EXAMPLES)
@click.option(
    "--max-unused",
    metavar="X%|SIZE|unlimited",
    default="5%",
    show_default=True,
    help="So much that nobody needs may stay: a share of the repository, or as 500M. More means less to repack.",
)
@click.option("--max-repack-size", metavar="SIZE", help="Repack less than so much, such as 50G.")
@click.option("--repack-small", is_flag=True, help="Join packs of less than 80 % of the usual size too.")
@click.option(
    "--repack-cacheable-only", is_flag=True, help="Repack only packs of trees; those of data go whole or stay."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done; needs no exclusive lock.")
def prune(
    max_unused: str, max_repack_size: str | None, *, repack_small: bool, repack_cacheable_only: bool, dry_run: bool
) -> None:
    """Remove what no snapshot needs.

    Packs of which nothing is needed are removed. Of others, what is needed is stored anew when more of them is unused
    than may be. Nothing is removed when anything that a snapshot needs is missing or damaged.

    Nothing else can use the repository meanwhile. To be killed is safe at any moment: the next prune goes on.
    """
    options = PruneOptions(
        parse_max_unused(max_unused),
        None if max_repack_size is None else _parse_size(max_repack_size),
        repack_small=repack_small,
        repack_trees_only=repack_cacheable_only,
    )
    invocation = this_invocation()
    with (
        opened_repository(invocation) as repository,
        repository.lock(exclusive=not dry_run, wait=lock_wait(invocation)),
    ):
        prune_repository(invocation, repository, options, dry_run=dry_run)


def prune_repository(
    invocation: Invocation, repository: Repository, options: PruneOptions, *, dry_run: bool = False
) -> None:
    """Plan, tell and do it, under the caller's lock: an exclusive one, unless it is a dry run."""
    plan = plan_prune(repository, options, invocation.progress)
    if dry_run:
        invocation.output.result(plan_text(plan.figures), {"message_type": "plan", **figures_record(plan.figures)})
        return
    invocation.output.say(plan_text(plan.figures))
    result = execute_prune(repository, plan, invocation.progress)
    record = {"message_type": "summary", **figures_record(plan.figures), "done": to_json(result)}
    invocation.output.result(_result_text(plan.figures, result), record)


def parse_max_unused(text: str) -> int | float | None:
    """As `PruneOptions.max_unused`; UsageError."""
    if text == "unlimited":
        return None
    if match := _PERCENT.fullmatch(text):
        return float(match[1]) / 100
    return 0 if text == "0" else _parse_size(text)


def _parse_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no size", hint="Such as 500M or 20G: a number with B, K, M, G or T.")
    return int(match[1]) * _UNITS[match[2].upper()]


def plan_text(figures: PruneFigures) -> str:
    """What a prune will do, for people."""
    remaining = figures.used.bytes + figures.unused_after
    share = figures.unused_after / remaining if remaining else 0
    lines = [
        f"used:          {_amount(figures.used)}",
        f"unused:        {_amount(figures.unused)}",
        f"duplicates:    {_amount(figures.duplicate)}",
        f"not indexed:   {counted(figures.packs_unreferenced, 'pack')}, {size_text(figures.unreferenced_bytes)}",
        f"to repack:     {counted(figures.packs_to_repack, 'pack')}, {_amount(figures.repack)},"
        f" of which {size_text(figures.repack_drop.bytes)} go",
        f"to remove:     {counted(figures.packs_to_remove, 'pack')}, {_amount(figures.remove)}",
        f"frees:         {size_text(figures.freed_bytes)}",
        f"remaining:     {size_text(remaining)}, of which unused {size_text(figures.unused_after)} ({share:.1%})",
    ]
    return "\n".join(lines)


def figures_record(figures: PruneFigures) -> dict[str, Any]:
    """The same as JSON."""
    derived = {"freed_bytes": figures.freed_bytes, "unused_after": figures.unused_after}
    return {**to_json(figures), **derived}


def _amount(amount: Amount) -> str:
    return f"{counted(amount.blobs, 'blob')}, {size_text(amount.bytes)}"


def _result_text(figures: PruneFigures, result: PruneResult) -> str:
    text = (
        f"removed {counted(result.packs_removed, 'pack')}, wrote {counted(result.packs_written, 'pack')}; "
        f"freed {size_text(figures.freed_bytes)}"
    )
    return f"{text}\nremoved {counted(result.swept, 'unfinished file')}" if result.swept else text
