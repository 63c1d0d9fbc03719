"""What is killed at every step, in memory: each kind of backup, and each way to restore; and what must hold afterwards.

A process that is really killed, in the middle of what Cinder does for it, is the kill matrix's (`tests.faults.kills`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.storm.backups import restored
from tests.faults.storm.deaths import Doom, die
from tests.faults.storm.filed import make_files, stored_files, write_files
from tests.faults.storm.world import GAMMA, VOLUMES_IN_EACH, World, make_world

from icebrick.cloud.base import Group, Transfer, Volume, VolumeSnapshot
from icebrick.cloud.servers import ServerAttachment
from icebrick.repository.check.check import check_repository
from icebrick.run import SAFETY_KEY, find_mark
from icebrick.testing.fakerecords import BETA
from icebrick.testing.images import same_repository
from icebrick.testing.turns import Turns
from icebrick.workflow.naming import BackupMode, mode_of
from icebrick.workflow.points import group_points, volume_id_of

_SEED = 5
_FREE, _FILED, _DISK, _ROOT = 4, 5, 6, 7
"""Numbers of volumes: of no group and not attached; the same, for files; a server's; what that server starts from."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Flow:
    """A command that is killed; `changed` is what became of the volumes since their backup."""

    name: str
    arguments: Callable[[World], list[str]]
    changed: Callable[[World], None] = lambda world: None
    mounts: bool = False
    """It works on files, which needs root."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One kill, before `step`, and what was wrong after a cleanup."""

    flow: str
    number: int
    step: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        problems = "".join(f"\n    PROBLEM {problem}" for problem in self.problems)
        return f"{self.flow:40} {self.number:3} before {self.step}{problems}"


def template(folder: Path) -> World:
    """Volumes with backups, one by itself and a group's, and another that a server has."""
    world = make_world(Random(_SEED), folder, location="local:/storm/all")
    (server,) = [each for each in world.records.servers.values() if each.root == _volume(world, _ROOT)]
    world.clouds["alpha"].servers().attach(ServerAttachment(server.id, _volume(world, _DISK), "/dev/vdb"))
    for scope in (["--single-volume-id", _volume(world)], ["--consistency-groups", world.groups[0]]):
        assert world.command("backup", *scope).code == 0
    return world


def kill_everywhere(before: World, flow: Flow, *, every: int = 1) -> Iterator[Cell]:
    """Let the flow live once, which tells its steps; then, for each or every so many of them, die there."""
    scene = before.copied()
    flow.changed(scene)
    alive, ran = _die(scene.copied(), flow, None)
    if ran != 0:
        yield Cell(flow.name, 0, "the end", (f"alive, it ended with {ran}",))
    for number, step in list(enumerate(alive.steps, 1))[::every]:
        world = scene.copied()
        doom, code = _die(world, flow, number)
        problems = () if code is None else (f"it ended with {code} and not by step {number}, {doom.steps[-1]}",)
        cleaned = world.command("cleanup")
        if cleaned.code != 0:
            problems += (f"cleanup ended with {cleaned.code}: {cleaned.errors}",)
        removed = (cleaned.summary or {}).get("removed", [])
        problems += (*problems_of_cloud(scene, world, removed),)
        if flow.name.startswith("backup"):  # a restore writes nothing there but its lock
            problems += (*_problems_of_repository(world),)
        yield Cell(flow.name, number, step, problems)


def _die(world: World, flow: Flow, at: int | None) -> tuple[Doom, int | None]:
    doom, ran = die(world, at, Turns(Random(_SEED)), *flow.arguments(world))
    return doom, None if ran is None else ran.code


def problems_of_cloud(scene: World, world: World, removed: list[str]) -> Iterator[str]:
    """What is not as it was in the scene, and need not be; `removed` is what the cleanup told."""
    if world.connector.connected:
        yield "a device is left on the host"
    if _disks(world) != _disks(scene):
        yield f"servers had {_disks(scene)} and have {_disks(world)}"
    before, now = scene.resources(), world.resources()
    complete = {each for each in now.keys() - before.keys() if _is_complete(world, now[each])}
    for each in sorted(now.keys() - before.keys()):
        if not _may_be_new(scene, world, now[each], complete):
            yield f"there is {now[each]}"
    for each in sorted(before.keys() & now.keys()):
        if before[each] != now[each]:
            yield f"instead of {before[each]} there is {now[each]}"
    for each in sorted(before.keys() - now.keys()):
        replaced = isinstance(before[each], Volume) and complete
        if not replaced and not _was_given_back(scene, before[each]):
            yield f"gone is {before[each]}"
    yield from _problems_of_content(scene, world, removed)


def _problems_of_content(scene: World, world: World, removed: list[str]) -> Iterator[str]:
    """What was written in place is in a safety snapshot, and the cleanup tells of the volume."""
    for volume_id in scene.records.volumes.keys() & world.records.volumes.keys():
        was = scene.content(volume_id)
        if world.content(volume_id) == was:
            continue
        safe = [each for each in world.records.snapshots.values() if each.volume_id == volume_id]
        if not any(world.content(each.id) == was for each in safe):
            yield f"volume {volume_id} was written and nothing has what it held"
        if world.content(volume_id) != world.contents[volume_id] and not any(volume_id in text for text in removed):
            yield f"volume {volume_id} is half restored and nobody tells"


def _disks(world: World) -> dict[str, list[str]]:
    return {server.id: sorted(server.disks) for server in world.records.servers.values()}


def _is_complete(world: World, resource: Any) -> bool:
    """Whether it is a restored volume, with nothing left to do."""
    if not isinstance(resource, Volume) or any(key.startswith("icebrick-") for key in resource.metadata):
        return False
    return world.content(resource.id) in world.contents.values()


def _may_be_new(scene: World, world: World, resource: Any, complete: set[str]) -> bool:
    match resource:
        case Volume():
            return resource.id in complete and resource.status in ("available", "awaiting-transfer")
        case VolumeSnapshot():
            safe = set(resource.metadata) == {SAFETY_KEY}
            return safe and world.content(resource.id) == scene.content(resource.volume_id)
        case Group():
            members = {each.id for each in world.records.members(resource.id)}
            return find_mark(resource.description) is None and bool(members) and members <= complete
        case Transfer():
            return resource.volume_id in complete
    return _was_given_back(world, resource)


def _was_given_back(world: World, resource: Any) -> bool:
    """Whether it is an attachment of a server, which is another one after the volume went and came back."""
    return getattr(resource, "server_id", None) in world.records.servers


def _problems_of_repository(world: World) -> Iterator[str]:
    for backend in world.backends.values():
        repository = same_repository(backend)
        yield from map(str, check_repository(repository).problems)
        store, snapshots = repository.load_index(), list(repository.snapshots())
        for snapshot in snapshots:
            volume_id = volume_id_of(snapshot) or ""
            held = stored_files(store, snapshot) if mode_of(snapshot) is BackupMode.FILES else restored(store, snapshot)
            if held not in (world.contents[volume_id], world.former.get(volume_id)):
                yield f"snapshot {snapshot.id} does not hold what volume {volume_id} did"
        for point in group_points(snapshots):
            members = {volume_id_of(snapshot) for snapshot in point.members}
            if point.is_complete != (members == set(world.members[point.group_id])):
                yield f"a restore point of {len(members)} volumes passes for complete"


def _volume(world: World, number: int = _FREE, *, project: int = 0) -> str:
    return list(world.contents)[project * VOLUMES_IN_EACH + number]


def _restore(*arguments: str) -> Callable[[World], list[str]]:
    return lambda world: ["restore", "--single-volume-id", _volume(world), *arguments]


def _restore_group(world: World) -> list[str]:
    return ["restore", "--consistency-groups", world.groups[0]]


def _write(world: World) -> None:
    world.records.content[_volume(world)].write(300 * _MIB, b"written later")


def _lose(world: World) -> None:
    volume_id = _volume(world)
    del world.records.volumes[volume_id], world.records.content[volume_id]


def _spoil(world: World) -> None:
    world.records.change_volume(_volume(world), status="error")


def _lose_group(world: World) -> None:
    for volume_id in world.members[world.groups[0]]:
        del world.records.volumes[volume_id], world.records.content[volume_id]
    del world.records.groups[world.groups[0]]


def _back_up_files(world: World) -> None:
    """A volume gets a file system, and a backup of the files in it."""
    world.connector.makes_devices = True
    volume_id = _volume(world, _FILED)
    make_files(world.records.content[volume_id], same=b"s" * 10_000, changed=b"before")
    world.contents[volume_id] = world.content(volume_id)
    assert world.command("backup", "--mode", "files", "--single-volume-id", volume_id).code == 0


def _change_files(world: World) -> None:
    _back_up_files(world)
    write_files(world.records.content[_volume(world, _FILED)], changed=b"after" * 1000)


def _go_on_with_files(world: World) -> None:
    """They are to be backed up again."""
    _change_files(world)
    volume_id = _volume(world, _FILED)
    world.former[volume_id], world.contents[volume_id] = world.contents[volume_id], world.content(volume_id)


def _lose_files(world: World) -> None:
    _back_up_files(world)
    volume_id = _volume(world, _FILED)
    del world.records.volumes[volume_id], world.records.content[volume_id]


def _restore_files(*arguments: str) -> Callable[[World], list[str]]:
    return lambda world: ["restore", "--single-volume-id", _volume(world, _FILED), *arguments]


FLOWS = (
    Flow("backup", lambda world: ["backup", "--single-volume-id", _volume(world)]),
    Flow("backup of a group", lambda world: ["backup", "--consistency-groups", world.groups[0]]),
    Flow("backup, cold", lambda world: ["backup", "--cold", "--single-volume-id", _volume(world, _DISK)]),
    Flow("restore onto a copy", _restore(), _write),
    Flow("restore in place", _restore("--in-place"), _write),
    Flow("restore anew", _restore(), _lose),
    Flow("restore anew on error", _restore("--recreate-vol-on-error"), _spoil),
    Flow("restore and remove the old volume", _restore("--verify", "--remove-old-vol", "--yes"), _write),
    Flow("restore to a project with a role", _restore("--to-project", BETA.id)),
    Flow("restore, accepted", _restore("--to-project", GAMMA.id, "--project-cloud", f"{GAMMA.id}={GAMMA.name}")),
    Flow("restore, offered", _restore("--to-project", GAMMA.id)),
    Flow("restore of a group onto copies", _restore_group),
    Flow("restore of a group anew", _restore_group, _lose_group),
    Flow(
        "backup of files",
        lambda world: ["backup", "--mode", "files", "--single-volume-id", _volume(world, _FILED)],
        _go_on_with_files,
        mounts=True,
    ),
    Flow("restore of files onto a copy", _restore_files(), _change_files, mounts=True),
    Flow("restore of files in place", _restore_files("--in-place"), _change_files, mounts=True),
    Flow("restore of files anew", _restore_files(), _lose_files, mounts=True),
)
