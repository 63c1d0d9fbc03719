"""A restore that dies at any call, whichever way it goes, leaves nothing but what must stay once the next run began."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.unit.workflow.conftest import World, named

from icebrick.cloud.base import Cloud
from icebrick.run import HOST_KEY, RUN_KEY, SAFETY_KEY
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakerecords import ALPHA, SERVICE
from icebrick.testing.faultplan import FaultPlan, Mortal
from icebrick.testing.faults import Death
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.places import Logins

CONTENT = os.urandom(2 << 20)
LATER = b"written later"
KINDS = ("volumes", "content", "snapshots", "attachments", "modes", "transfers")


@dataclass(frozen=True, slots=True)
class Case:
    """A user, a volume that is backed up and has changed since, and what is asked for."""

    agent: World
    volume_id: str
    logins: Logins

    def restore(self, faults: FaultPlan, **asked: Any) -> None:
        self.agent.cloud.faults = self.agent.connector.faults = faults
        self.agent.run_restore(RestoreRequest(named(self.volume_id), **asked), logins=self.logins)


def tenant(world: World) -> World:
    return world


def agent_with_a_role(world: World) -> World:
    return replace(world, cloud=FakeCloud(world.cloud.records, SERVICE, elsewhere=(ALPHA,)))


def administrator(world: World) -> World:
    return replace(world, cloud=FakeCloud(world.cloud.records, SERVICE, admin=True))


def login_of(world: World) -> Logins:
    """Of alice, whose requests die with the rest."""

    @contextmanager
    def login() -> Iterator[Cloud]:
        alice = FakeCloud(world.cloud.records)
        alice.faults = world.connector.faults
        yield alice

    return {ALPHA.id: login}


WAYS: dict[str, tuple[Callable[[World], World], dict[str, Any]]] = {
    "copy": (tenant, {"verify": True}),
    "in-place": (tenant, {"in_place": True, "verify": True}),
    "new": (tenant, {}),
    "recreate": (tenant, {"recreate_on_error": True}),
    "remove-old": (tenant, {"remove_old": True, "verify": True}),
    "role": (agent_with_a_role, {}),
    "role in-place": (agent_with_a_role, {"in_place": True}),
    "offered": (administrator, {}),
    "accepted": (administrator, {"remove_old": True, "verify": True}),
}


@pytest.mark.parametrize("way", WAYS)
def test_whenever_it_dies_only_what_must_stay_is_left(world: World, way: str) -> None:
    make, asked = WAYS[way]
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    world.cloud.content(volume.id).write(0, LATER)
    if way == "new":
        world.cloud.delete_volume(volume.id)
    if way == "recreate":
        world.cloud.set_status(volume.id, "error")
    case = Case(make(world), volume.id, login_of(world) if way == "accepted" else {})
    before = saved(world)
    living = FaultPlan()
    case.restore(living, **asked)
    assert len(living.calls) > 10
    for number in range(1, len(living.calls) + 1):
        put_back(world, before)
        with pytest.raises(Death) as death:
            case.restore(Mortal(number), **asked)
        case.agent.cloud.faults = case.agent.connector.faults = FaultPlan()
        with case.agent.run():
            pass
        assert problems(world, volume.id, way) == [], f"after death at call {number}, {death.value}"


def saved(world: World) -> dict[str, dict[str, Any]]:
    return {kind: copied(getattr(world.cloud.records, kind)) for kind in KINDS}


def put_back(world: World, state: dict[str, dict[str, Any]]) -> None:
    for kind, resources in state.items():
        getattr(world.cloud.records, kind).clear()
        getattr(world.cloud.records, kind).update(copied(resources))


def copied(resources: dict[str, Any]) -> dict[str, Any]:
    return {key: each.copy() if isinstance(each, BytesTarget) else each for key, each in resources.items()}


def problems(world: World, volume_id: str, way: str) -> list[str]:
    return [*left_behind(world), *unfinished(world, volume_id), *lost(world, volume_id, way)]


def left_behind(world: World) -> Iterator[str]:
    records = world.cloud.records
    yield from (f"attachment {each}" for each in records.attachments)
    yield from (f"device {each}" for each in world.connector.connected)
    for snapshot in records.snapshots.values():
        if set(snapshot.metadata) != {SAFETY_KEY}:
            yield f"snapshot {snapshot}"
    for transfer in records.transfers.values():
        if RUN_KEY in records.volumes[transfer.volume_id].metadata:
            yield f"transfer {transfer}"


def unfinished(world: World, volume_id: str) -> Iterator[str]:
    """A new volume has all of the backup, and is its project's or offered to it."""
    records = world.cloud.records
    offered = {transfer.volume_id for transfer in records.transfers.values()}
    for volume in records.volumes.values():
        if {RUN_KEY, HOST_KEY} & set(volume.metadata):
            yield f"volume {volume} is marked"
        if volume.id != volume_id and world.content(volume.id) != CONTENT:
            yield f"volume {volume.id} is half restored"
        if volume.project_id != ALPHA.id and volume.id not in offered:
            yield f"volume {volume.id} stays with the agent"


def lost(world: World, volume_id: str, way: str) -> Iterator[str]:
    """What the volume was is there, in itself or where it may have been written in its safety snapshot."""
    records = world.cloud.records
    if volume_id not in records.volumes:
        if way != "new" and len(records.volumes) != 1:
            yield "the old volume is gone, and nothing has replaced it"
        return
    if not (way == "recreate" or records.volumes[volume_id].status == "available"):
        yield f"the old volume is {records.volumes[volume_id].status}"
    if world.content(volume_id)[: len(LATER)] != LATER:
        kept = [bytes_of(world.cloud.content(snapshot_id)) for snapshot_id in records.snapshots]
        if "in-place" not in way or kept != [LATER]:
            yield "the old volume was written, and what it was is lost"


def bytes_of(device: BytesTarget) -> bytes:
    buffer = bytearray(len(LATER))
    device.read_into(0, memoryview(buffer))
    return bytes(buffer)
