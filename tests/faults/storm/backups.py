"""One backup of all projects, or of the groups, in bad weather; and everything that must hold afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.storm.outcome import Outcome, clean_up, differences, problems_of_failures
from tests.faults.storm.weather import break_out
from tests.faults.storm.world import World, make_world, pages

from icebrick.backend.base import FileType
from icebrick.engine.block.image import find_image
from icebrick.engine.block.restore import restore_image
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.check.check import check_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.images import same_repository
from icebrick.testing.turns import Turns
from icebrick.workflow.points import group_points, volume_id_of

_NOTHING_TOLD: dict[str, Any] = {"backups": (), "failures": (), "groups": (), "leftovers": (), "interrupted": True}
"""Of a run that was ended before its report."""
PLACES = ("local:/storm/all", "local:/storm/{project_id}")


def storm_backup(chance: Random, seed: int, folder: Path) -> Outcome:
    """One run in bad weather, and a cleanup in good."""
    world = make_world(chance, folder, location=chance.choice(PLACES))
    everything = chance.random() < 0.75
    scope = ("--all-tenants",) if everything else ("--consistency-groups", ",".join(world.groups))
    if chance.random() < 0.3:
        world.command("backup", *scope, turns=Turns(chance))  # to be compared with
    earlier = _snapshot_ids(world)
    before = world.resources()
    turns = Turns(chance, eager=chance.random())
    weather = break_out(world, chance, turns)
    asked = ["--mode", chance.choice(("auto", "blocks")), "--parallel", chance.choice(("10", "10", "10", "3"))]
    if chance.random() < 0.3:
        asked.append("--recreate-vol-on-error")
    ran = world.command("backup", *scope, *asked, turns=turns)
    summary = ran.summary or _NOTHING_TOLD
    problems = problems_of_failures(ran)
    if ran.summary is not None:
        wanted = set(world.contents) if everything else set().union(*world.members.values())
        problems += _problems_of_report(world, wanted, ran.summary)
    if ran.code == 0 and not summary["leftovers"]:
        problems += differences(before, world.resources(), "by a run that told of nothing")
    problems += clean_up(world)
    problems += differences(before, world.resources(), "after a cleanup")
    problems += _problems_of_repositories(world, summary, earlier)
    return Outcome(
        seed=seed,
        flow="backup --all-tenants" if everything else "backup groups",
        weather=weather.told,
        complete=len(summary["backups"]),
        failed=len(summary["failures"]),
        faults=len(weather.met),
        turns=turns.taken,
        problems=tuple(problems),
    )


def _problems_of_report(world: World, wanted: set[str], summary: dict[str, Any]) -> Iterator[str]:
    """Every volume of the scope is complete, a failure with a reason, or not begun because it was interrupted."""
    told = Counter(backup["path"].rpartition("/")[2] for backup in summary["backups"])
    for failure in summary["failures"]:
        group = failure["group_id"] if failure["volume_id"] is None else None
        told.update([failure["volume_id"]] if group is None else world.members[group])
    told.update(summary["not_begun"])
    if told != Counter(wanted):
        yield f"not told of once each: {sorted((Counter(wanted) - told) + (told - Counter(wanted)))}"


def _problems_of_repositories(world: World, summary: dict[str, Any], earlier: set[str | None]) -> Iterator[str]:
    """Each claimed backup is there and restores what the volume holds; what is there was claimed.

    But for two things: where the answer to the saving of a snapshot is lost, and the run is told to end before it can
    try again, the volume is a failure although its backup is there, and whole; and a run that is told to end between
    its last snapshot and its report claims nothing.
    """
    failed = {failure["volume_id"] for failure in summary["failures"]} if summary["interrupted"] else set()
    claimed = {backup["snapshot_id"] for backup in summary["backups"]}
    found: set[str | None] = set()
    points: set[str] = set()
    for backend in world.backends.values():
        if any(backend.list_files(FileType.LOCK)):
            yield "a lock is left"
        repository = same_repository(backend)
        yield from map(str, check_repository(repository).problems)
        store, snapshots = repository.load_index(), list(repository.snapshots())
        found |= {snapshot.id for snapshot in snapshots}
        points |= {point.group_snapshot_id for point in group_points(snapshots) if point.is_complete}
        for snapshot in snapshots:
            volume_id = volume_id_of(snapshot) or ""
            if snapshot.id not in earlier and restored(store, snapshot) != world.contents[volume_id]:
                yield f"snapshot {snapshot.id} does not hold what volume {volume_id} does"
            if snapshot.id not in claimed and volume_id in failed:
                earlier = earlier | {snapshot.id}
    if claimed - found:
        yield f"claimed but not there: {sorted(claimed - found)}"
    if summary is not _NOTHING_TOLD and found - claimed - earlier:
        yield f"there but not claimed: {len(found - claimed - earlier)}"
    for group in summary["groups"]:
        if group["complete"] != (group["group_snapshot_id"] in points):
            yield f"the restore point of {group} is not what was told"


def restored(store: BlobStore, snapshot: Snapshot) -> dict[int, bytes]:
    """What the snapshot's image holds, by page."""
    image = find_image(store, snapshot.tree)
    if image is None:
        return {}
    device = BytesTarget(image.size)
    restore_image(image, store, device)
    return pages(device)


def _snapshot_ids(world: World) -> set[str | None]:
    repositories = map(same_repository, world.backends.values())
    return {snapshot.id for repository in repositories for snapshot in repository.snapshots()}
