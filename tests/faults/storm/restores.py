"""One restore in bad weather, in any of the ways that can be asked for; and everything that must hold afterwards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.storm.outcome import Outcome, clean_up, differences, problems_of_failures
from tests.faults.storm.weather import break_out
from tests.faults.storm.world import GAMMA, PROJECTS, World, make_world

from icebrick.testing.turns import Turns

_NOTHING: dict[str, Any] = {"restores": (), "failures": (), "groups": (), "leftovers": (), "not_begun": ()}
_SWITCHES = ("--recreate-vol-on-error", "--meta-override")


def storm_restore(chance: Random, seed: int, folder: Path) -> Outcome:
    """All volumes are backed up, then some change, are lost or spoilt; a restore in bad weather, a cleanup in good."""
    world = make_world(chance, folder, location="local:/storm/all")
    for scope in (("--all-tenants",), ("--consistency-groups", ",".join(world.groups))):
        world.command("backup", *scope, turns=Turns(chance))
    _live_on(world, chance)
    arguments, wanted = _request(world, chance)
    before, contents = world.resources(), {each: world.content(each) for each in world.records.volumes}
    turns = Turns(chance, eager=chance.random())
    weather = break_out(world, chance, turns)
    ran = world.command("restore", *arguments, "--parallel", chance.choice(("10", "3")), turns=turns)
    summary = ran.summary or _NOTHING
    problems = problems_of_failures(ran)
    if ran.summary is not None:
        problems += _problems_of_report(world, wanted, ran.summary)
    problems += clean_up(world)
    problems += differences(_expected(world, before, summary), world.resources(), "after a cleanup")
    problems += _problems_of_restores(world, summary)
    problems += _problems_of_originals(world, summary, before, contents)
    return Outcome(
        seed=seed,
        flow=f"restore {' '.join(each for each in arguments if each.startswith('--'))}",
        weather=weather.told,
        complete=len(summary["restores"]),
        failed=len(summary["failures"]),
        faults=len(weather.met),
        turns=turns.taken,
        problems=tuple(problems),
    )


def _live_on(world: World, chance: Random) -> None:
    """What volumes go through after their backup."""
    records = world.records
    if chance.random() < 0.3:
        group = world.groups[0]
        for volume in records.members(group):
            del records.volumes[volume.id], records.content[volume.id]
        del records.groups[group]
    attached = {attachment.volume_id for attachment in records.attachments.values()}
    for volume_id in list(records.volumes):
        fate = chance.random()
        if fate < 0.25 and volume_id not in attached:
            del records.volumes[volume_id], records.content[volume_id]
        elif fate < 0.3 and volume_id not in attached:
            records.change_volume(volume_id, status="error")
        elif fate < 0.8:
            records.content[volume_id].write(300 << 20, b"written later")


def _request(world: World, chance: Random) -> tuple[list[str], list[str]]:
    """The arguments, and the volumes that they mean."""
    several = chance.sample(sorted(world.contents), 3)
    members = [volume_id for group in world.groups for volume_id in world.members[group]]
    scope, wanted = chance.choice(
        (
            (["--all-tenants"], sorted(world.contents)),
            ([text for each in several for text in ("--single-volume-id", each)], several),
            (["--consistency-groups", ",".join(world.groups)], members),
        )
    )
    kinds = [["--to-project", chance.choice(PROJECTS).id], ["--verify", "--remove-old-vol", "--yes"], []]
    if scope[0] != "--consistency-groups":
        kinds.append(["--in-place"])
    arguments = [*scope, *chance.choice(kinds), *(each for each in _SWITCHES if chance.random() < 0.4)]
    if len(wanted) < len(world.contents) and chance.random() < 0.3:  # to read so many takes long
        arguments.append("--verify")
    if chance.random() < 0.5:
        arguments += ["--project-cloud", f"{GAMMA.id}={GAMMA.name}"]
    return arguments, wanted


def _problems_of_report(world: World, wanted: list[str], summary: dict[str, Any]) -> Iterator[str]:
    told = Counter(each["source_id"] for each in summary["restores"])
    for failure in summary["failures"]:
        group = failure["group_id"] if failure["volume_id"] is None else None
        told.update([failure["volume_id"]] if group is None else world.members[group])
    told.update(summary["not_begun"])
    if told != Counter(wanted):
        yield f"not told of once each: {sorted((Counter(wanted) - told) + (told - Counter(wanted)), key=str)}"


def _expected(world: World, before: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    """What must be there after a cleanup: as before, with what the report names."""
    now, expected = world.resources(), dict(before)
    for restored in summary["restores"]:
        if restored["removed_volume_id"]:
            expected.pop(restored["removed_volume_id"], None)
        expected[restored["volume_id"]] = now.get(restored["volume_id"], "nothing")
        if restored["offer"]:
            offered = restored["offer"]["transfer_id"]
            expected[offered] = now.get(offered, "nothing")
    for told in (*summary["restores"], *summary["failures"]):
        for snapshot_id in told["safety_snapshot_ids"]:
            snapshot = now.get(snapshot_id)
            metadata = {} if snapshot is None else {"icebrick-safety": snapshot.metadata.get("icebrick-safety")}
            expected[snapshot_id] = replace(snapshot, metadata=metadata) if snapshot else "nothing"
    for failure in summary["failures"]:
        # It may not be: the answer to taking the mark off was lost. Then it stays, and the failure has told.
        complete = re.match("volume (.*) is complete but still marked", failure["message"])
        if complete and complete[1] in now:
            expected[complete[1]] = now[complete[1]]
    for group in summary["groups"]:
        if group["new_group_id"]:
            expected[group["new_group_id"]] = now.get(group["new_group_id"], "nothing")
    return expected


def _problems_of_restores(world: World, summary: dict[str, Any]) -> Iterator[str]:
    for restored in summary["restores"]:
        volume = world.records.volumes.get(restored["volume_id"])
        if volume is None:
            continue  # told already
        if world.content(volume.id) != world.contents[restored["source_id"]]:
            yield f"volume {volume.id} does not hold what volume {restored['source_id']} did"
        if any(key.startswith("icebrick-") for key in volume.metadata):
            yield f"volume {volume.id} is complete and carries marks: {volume.metadata}"
        offer = restored["offer"]
        if offer is None and (volume.project_id, volume.status) != (restored["project_id"], "available"):
            yield f"volume {volume.id} is {volume.status} in project {volume.project_id}: {restored}"
        if offer is not None and volume.status != "awaiting-transfer":
            yield f"volume {volume.id} is {volume.status} and cannot be accepted"


def _problems_of_originals(
    world: World, summary: dict[str, Any], before: dict[str, Any], contents: dict[str, dict[int, bytes]]
) -> Iterator[str]:
    """Untouched; what was written in place is in its safety snapshot as it was."""
    written: dict[str, list[str]] = {}
    for told in (*summary["restores"], *summary["failures"]):
        if told["safety_snapshot_ids"]:
            written[told.get("source_id") or told["volume_id"]] = told["safety_snapshot_ids"]
    for volume_id, content in contents.items():
        safe = written.get(volume_id, ())
        if safe:
            # of several attempts, the first one's has what there was
            if safe[0] in world.records.snapshots and world.content(safe[0]) != content:
                yield f"safety snapshot {safe[0]} does not hold what volume {volume_id} did"
        elif volume_id in world.records.volumes and world.content(volume_id) != content:
            yield f"volume {volume_id} has changed"
