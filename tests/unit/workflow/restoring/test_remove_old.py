"""Removing the volume that was replaced: only when the new one is verified, and only if nobody may need it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.unit.workflow.conftest import World

from icebrick.cloud.base import GroupSpec, Mode
from icebrick.errors import CloudUnavailableError
from icebrick.testing.bytesdevice import BytesTarget

CONTENT = os.urandom(2 << 20)
ASKED = {"remove_old": True, "verify": True}
TYPE = "__DEFAULT__"
Use = Callable[[World, str], None]


@pytest.fixture
def volume_id(world: World) -> str:
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    return volume.id


def test_the_replaced_volume_is_deleted_when_its_copy_is_complete(world: World, volume_id: str) -> None:
    restored = world.restore(volume_id, **ASKED)
    assert (restored.removed_volume_id, restored.not_removed) == (volume_id, None)
    assert world.resources() == {restored.volume_id}
    assert world.content(restored.volume_id) == CONTENT


def test_a_volume_in_an_error_state_that_a_new_one_replaces_is_deleted(world: World, volume_id: str) -> None:
    world.cloud.set_status(volume_id, "error")
    restored = world.restore(volume_id, recreate_on_error=True, **ASKED)
    assert restored.removed_volume_id == volume_id
    assert world.resources() == {restored.volume_id}


def test_of_a_volume_that_is_gone_there_is_nothing_to_remove(world: World, volume_id: str) -> None:
    world.cloud.delete_volume(volume_id)
    restored = world.restore(volume_id, **ASKED)
    assert (restored.removed_volume_id, restored.not_removed) == (None, None)


def attach(world: World, volume_id: str) -> None:
    attachment = world.cloud.create_attachment(volume_id, Mode.WRITE)
    world.cloud.complete_attachment(attachment.id)


def give_a_snapshot(world: World, volume_id: str) -> None:
    world.cloud.create_snapshot(volume_id, name="somebody's", metadata={})


def put_into_a_group(world: World, volume_id: str) -> None:
    group = world.cloud.create_group(GroupSpec("pair", "consistent", (TYPE,)))
    world.cloud.add_to_group(group.id, volume_id)


@pytest.mark.parametrize(
    ("use", "reason"),
    [(attach, "it is in-use"), (give_a_snapshot, "it has 1 volume snapshot"), (put_into_a_group, "it is in group")],
)
def test_what_somebody_may_need_is_refused_before_anything_is_made(
    world: World, volume_id: str, use: Use, reason: str
) -> None:
    use(world, volume_id)
    before = world.resources()
    assert reason in world.failed_restore(volume_id, **ASKED).message
    assert world.resources() == before


@pytest.mark.parametrize("use", [attach, give_a_snapshot, put_into_a_group])
def test_what_somebody_needs_since_stays_and_the_restored_volume_too(
    world: World, volume_id: str, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    untag = type(world.cloud).untag_volume

    def use_meanwhile(cloud: object, restored_id: str) -> None:
        untag(world.cloud, restored_id)
        use(world, volume_id)

    monkeypatch.setattr(type(world.cloud), "untag_volume", use_meanwhile)
    restored = world.restore(volume_id, **ASKED)
    assert restored.removed_volume_id is None
    assert restored.not_removed is not None
    assert {volume_id, restored.volume_id} <= world.resources()


def test_a_deletion_that_fails_is_told_and_the_restored_volume_stays(world: World, volume_id: str) -> None:
    world.cloud.faults.fail("delete_volume", CloudUnavailableError("no answer"))
    restored = world.restore(volume_id, **ASKED)
    assert (restored.removed_volume_id, restored.not_removed) == (None, "no answer")
    assert world.resources() == {volume_id, restored.volume_id}


def test_what_is_not_verified_replaces_nothing(world: World, volume_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.cloud.content(volume_id).write(0, b"differs")
    monkeypatch.setattr(BytesTarget, "write", lambda *_: None)
    assert world.failed_restore(volume_id, **ASKED).exit_code == 3
    assert world.resources() == {volume_id}
