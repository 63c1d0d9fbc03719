"""Where a volume cannot be restored onto, a new one is made, if that is asked for."""

from __future__ import annotations

import os

import pytest
from tests.unit.workflow.conftest import World

from icebrick.errors import (
    AttachError,
    BackendUnavailableError,
    CloudUnavailableError,
    CorruptDataError,
    IcebrickError,
    Interrupted,
    QuotaError,
)
from icebrick.workflow.restoring.outcome import Way

CONTENT = os.urandom(2 << 20)


@pytest.fixture
def volume_id(world: World) -> str:
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    return volume.id


COPYING = ("create_snapshot", "create_clone", "create_attachment", "connect_attachment", "complete_attachment")


@pytest.mark.parametrize("call", [*COPYING, "apply_settings"])
def test_whatever_fails_a_new_volume_is_made_and_nothing_else_stays(world: World, volume_id: str, call: str) -> None:
    before = world.resources()
    world.cloud.faults.fail(call, CloudUnavailableError("no answer"))
    restored = world.restore(volume_id, recreate_on_error=True)
    assert (restored.way, restored.reason) == (Way.NEW, "restoring onto a copy failed: no answer")
    assert world.content(restored.volume_id) == CONTENT
    assert world.resources() - before == {restored.volume_id}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "error"}, "the volume is in state error"),
        ({"size": 0}, "the volume has 0 GiB, and"),
    ],
)
def test_a_volume_that_cannot_be_copied_is_not_tried(
    world: World, volume_id: str, change: dict[str, object], reason: str
) -> None:
    world.cloud.records.change_volume(volume_id, **change)
    made = world.cloud.faults.calls.count("create_snapshot")
    restored = world.restore(volume_id, recreate_on_error=True)
    assert restored.way is Way.NEW
    assert restored.reason.startswith(reason)
    assert world.cloud.faults.calls.count("create_snapshot") == made


def test_a_device_that_does_not_appear_is_an_error_of_the_volume(world: World, volume_id: str) -> None:
    world.connector.faults.fail("open_target", AttachError("no device appeared"))
    assert world.restore(volume_id, recreate_on_error=True).way is Way.NEW


def test_when_the_new_volume_fails_too_nothing_stays(world: World, volume_id: str) -> None:
    before = world.resources()
    world.connector.faults.fail("open_target", AttachError("no device appeared"), times=2)
    assert world.failed_restore(volume_id, recreate_on_error=True).message == "no device appeared"
    assert world.resources() == before


@pytest.mark.parametrize(
    "error",
    [
        Interrupted("interrupted"),
        QuotaError("the quota is used up"),
        CorruptDataError("pack 1f2e is damaged"),
        BackendUnavailableError("the bucket does not answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_the_volume_makes_no_new_one(world: World, volume_id: str, error: IcebrickError) -> None:
    before = world.resources()
    world.cloud.faults.fail("create_clone", error)
    failure = world.failed_restore(volume_id, recreate_on_error=True)
    assert (failure.message, failure.exit_code) == (str(error), error.exit_code)
    assert world.resources() == before


def test_without_being_asked_for_no_new_volume_is_made(world: World, volume_id: str) -> None:
    world.connector.faults.fail("open_target", AttachError("no device appeared"))
    assert world.failed_restore(volume_id).message == "no device appeared"
