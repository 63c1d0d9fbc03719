"""icebrick repair index, packs, snapshots"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from icebrick.cli.command import LazyGroup, command
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.output import counted, one_line
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.errors import IncompleteError, UsageError
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.repair.index import execute_repair_index, plan_repair_index
from icebrick.repository.repair.packs import execute_repair_packs, plan_repair_packs
from icebrick.repository.repair.snapshots import SnapshotRepair, execute_repair_snapshots, plan_repair_snapshots
from icebrick.repository.repository import Repository
from icebrick.workflow.report import to_json

GROUP_EXAMPLES = """
icebrick -r main check --read-data
icebrick -r main repair index
icebrick -r main repair packs
icebrick -r main repair snapshots --dry-run
icebrick -r main repair snapshots --forget
"""
INDEX_EXAMPLES = """
icebrick -r main repair index
icebrick -r main repair index --dry-run
icebrick -r main repair index --read-all-packs
"""
PACKS_EXAMPLES = """
icebrick -r main repair packs
icebrick -r main repair packs 5f0e1c6f2b1c9b1d4d2e6a7c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00112
"""
SNAPSHOTS_EXAMPLES = """
icebrick -r main repair snapshots --dry-run
icebrick -r main repair snapshots 4f0b9f6e
icebrick -r main repair snapshots --forget
"""

_COMMANDS = {
    "index": (__name__, "Make the index say what is there."),
    "packs": (__name__, "Take damaged packs out, and keep what is whole in them."),
    "snapshots": (__name__, "Replace damaged snapshots by what can still be read of them."),
}
_SHOWN = 20
"""So many problems are told to people one by one; all are in the JSON."""

_dry_run = click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done; needs no exclusive lock.")


@click.group("repair", cls=LazyGroup, commands_in=_COMMANDS, examples=GROUP_EXAMPLES)
def repair() -> None:
    """Mend a damaged repository as far as it can be.

    First the index, then packs, then snapshots: each relies on what comes before it. Keys and the config cannot be
    mended: put back a copy of them. Nothing whole is ever removed.
    """


@contextmanager
def _locked(*, dry_run: bool) -> Iterator[tuple[Invocation, Repository]]:
    """What the storage has, not a cache's idea of it; nobody else is at work there."""
    invocation = this_invocation()
    with (
        opened_repository(invocation, cached=False) as repository,
        repository.lock(exclusive=not dry_run, wait=lock_wait(invocation)),
    ):
        yield invocation, repository


@command("index", examples=INDEX_EXAMPLES)
@click.option("--read-all-packs", is_flag=True, help="Believe no index file: read the header of every pack.")
@_dry_run
def index(*, read_all_packs: bool, dry_run: bool) -> None:
    """Make the index say what is there.

    Index files that are damaged, missing, or wrong are replaced, after the headers of the packs in question were
    read. Of packs with a damaged header, what an old index file knows of them is stored anew, if it is whole.
    """
    with _locked(dry_run=dry_run) as (invocation, repository):
        plan = plan_repair_index(repository, read_all_packs=read_all_packs, progress=invocation.progress)
        problems = [*plan.problems, *(f"pack {pack.hex()} is in no index file" for pack in plan.unindexed)]
        told = {
            "problems": problems,
            "index_files_to_replace": len(plan.replace),
            "pack_headers_to_read": len(plan.read),
        }
        if dry_run:
            wanted = (
                f"would replace {counted(len(plan.replace), 'index file')} "
                f"and read {counted(len(plan.read), 'pack header')}"
            )
            invocation.output.result(_text(problems, wanted), {"message_type": "plan", **told})
            return
        done = execute_repair_index(repository, plan, invocation.progress)
        did = (
            f"replaced {counted(done.index_files_removed, 'index file')} by {done.index_files_written}, "
            f"indexed {counted(done.packs_indexed, 'pack')} by their headers"
        )
        invocation.output.result(
            _text([*problems, *done.lost], did), {"message_type": "summary", **told, "done": to_json(done)}
        )
        if done.lost:
            raise IncompleteError(
                f"{counted(len(done.lost), 'pack')} could not be read",
                hint="'icebrick repair snapshots' takes what is lost out of the snapshots.",
            )


@command("packs", examples=PACKS_EXAMPLES)
@click.argument("packs", metavar="[PACK]...", nargs=-1)
@_dry_run
def packs(packs: tuple[str, ...], *, dry_run: bool) -> None:
    """Take damaged packs out, and keep what is whole in them.

    Reads the named packs, or all, and proves every block in them. Of a damaged one, what is whole is stored anew; then
    it is removed. Packs are named by their whole ids, as 'icebrick check --read-data' tells them.
    """
    only = [_pack_id(text) for text in packs]
    with _locked(dry_run=dry_run) as (invocation, repository):
        plan = plan_repair_packs(repository, only, invocation.progress)
        told = {"packs_read": plan.packs_read, "damaged": {pack.hex(): why for pack, why in plan.damaged.items()}}
        problems = list(plan.damaged.values())
        if dry_run:
            wanted = f"would replace {counted(len(plan.damaged), 'damaged pack')} of {plan.packs_read}"
            invocation.output.result(_text(problems, wanted), {"message_type": "plan", **told})
            return
        done = execute_repair_packs(repository, plan, invocation.progress)
        did = (
            f"removed {counted(done.packs_removed, 'damaged pack')} of {plan.packs_read}; "
            f"{counted(done.blobs_salvaged, 'blob')} saved, {done.blobs_lost} lost"
        )
        invocation.output.result(_text(problems, did), {"message_type": "summary", **told, "done": to_json(done)})
        if done.blobs_lost:
            raise IncompleteError(
                f"{counted(done.blobs_lost, 'blob')} lost",
                hint="'icebrick repair snapshots' takes them out of the snapshots that needed them; where the data is "
                "still there, a new backup stores them again.",
            )


@command("snapshots", examples=SNAPSHOTS_EXAMPLES)
@click.argument("snapshots", metavar="[SNAPSHOT]...", nargs=-1)
@click.option("--forget", is_flag=True, help="Forget the damaged snapshots, those too of which nothing can be read.")
@_dry_run
def snapshots(snapshots: tuple[str, ...], *, forget: bool, dry_run: bool) -> None:
    """Replace damaged snapshots by what can still be read of them.

    A snapshot that lacks something gets a successor with the tag 'repaired'. In it, a file that lacks a part has the
    ending '.repaired', with zeros for that part where its length is known; so no volume is restored from such an image
    by mistake. A directory that cannot be read is empty.

    Mend the index and packs first: what they can bring back is not lost.
    """
    with _locked(dry_run=dry_run) as (invocation, repository):
        only = [_snapshot_id(repository, text) for text in snapshots]
        plan = plan_repair_snapshots(repository, only, invocation.progress)
        told = {"damaged": [_record(repair) for repair in plan]}
        if dry_run:
            wanted = f"{counted(len(plan), 'damaged snapshot')}"
            invocation.output.result(_repairs_text(plan, wanted), {"message_type": "plan", **told})
            return
        done = execute_repair_snapshots(repository, plan, forget=forget)
        hopeless = [repair for repair in done if repair.successor is None]
        did = f"{counted(len(done), 'damaged snapshot')}, {len(done) - len(hopeless)} of them with a successor"
        record = {"message_type": "summary", "damaged": [_record(repair) for repair in done], "forgotten": forget}
        invocation.output.result(_repairs_text(done, did), record)
        if hopeless and not forget:
            raise IncompleteError(
                f"of {counted(len(hopeless), 'snapshot')} nothing can be read",
                hint="With --forget they are removed; until then nothing can be pruned.",
            )


def _pack_id(text: str) -> bytes:
    try:
        pack_id = bytes.fromhex(text)
    except ValueError:
        pack_id = b""
    if len(pack_id) != ID_SIZE:
        raise UsageError(f"{text!r} is not the id of a pack", hint="It has 64 digits; none is left out.")
    return pack_id


def _snapshot_id(repository: Repository, text: str) -> str:
    """A damaged one cannot be opened to tell its id, so a whole id is taken as it is."""
    return text if text in repository.snapshot_ids() else repository.find_snapshot(text).id or text


def _record(repair: SnapshotRepair) -> dict[str, Any]:
    return {
        "snapshot_id": repair.snapshot_id,
        "problems": list(repair.problems),
        "readable": repair.tree is not None,
        "successor": repair.successor,
    }


def _repairs_text(repairs: Sequence[SnapshotRepair], last: str) -> str:
    lines: list[str] = []
    for repair in repairs:
        what = "nothing of it can be read" if repair.tree is None else "damaged"
        if repair.successor is not None:
            what += f", its successor is {repair.successor[:8]}"
        lines.append(f"snapshot {repair.snapshot_id[:8]}: {what}")
        lines += [f"  {line}" for line in _first(repair.problems)]
    return "\n".join([*lines, last])


def _text(problems: Sequence[str], last: str) -> str:
    return "\n".join([*(f"problem: {line}" for line in _first(problems)), last])


def _first(problems: Sequence[str]) -> list[str]:
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return [*map(one_line, problems[:_SHOWN]), *more]
