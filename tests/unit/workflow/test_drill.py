"""Drills in a cloud that is in memory: what they find, and that nothing of them stays."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.unit.workflow.conftest import World

from icebrick.cloud.base import Volume
from icebrick.errors import AttachError, CloudError
from icebrick.parallel import Slots
from icebrick.progress import NO_PROGRESS
from icebrick.repository.snapshot import Snapshot
from icebrick.testing.faultplan import FaultPlan, Mortal
from icebrick.testing.faults import Death
from icebrick.workflow import verify_drill
from icebrick.workflow.receipts import ProofKind
from icebrick.workflow.restoring.content import open_content
from icebrick.workflow.verify_drill import Drill, DrillGround, verification_of_drill

CONTENT = os.urandom(2 << 20)

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def snapshot(world: World) -> Snapshot:
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    (saved,) = world.snapshots()
    return saved


def drill(world: World, snapshot: Snapshot) -> Drill:
    with world.run() as (access, images):
        done = DrillGround(images, Slots(2), NO_PROGRESS, access).drill(snapshot)
        assert access.leftovers == []
    return done


class Spoilt:
    """A content that a device does not keep, or cannot even be given."""

    def __init__(self, inner: Any, world: World, error: Exception | None) -> None:
        self._inner, self._world, self._error = inner, world, error
        self.size, self.verify = inner.size, inner.verify

    def fill_new(self, access: Any, volume: Volume, progress: Any) -> Any:
        if self._error is not None:
            raise self._error
        filled = self._inner.fill_new(access, volume, progress)
        self._world.cloud.content(volume.id).write(5, b"not this")
        return filled


def spoil(monkeypatch: pytest.MonkeyPatch, world: World, error: Exception | None = None) -> None:
    monkeypatch.setattr(verify_drill, "open_content", lambda *given: Spoilt(open_content(*given), world, error))


def test_a_drill_proves_a_snapshot_and_leaves_nothing(world: World, snapshot: Snapshot) -> None:
    before = world.resources()
    done = drill(world, snapshot)
    assert done.ok
    assert done.file_system.clean is None
    assert world.resources() == before


def test_what_a_drill_found_is_kept(world: World, snapshot: Snapshot) -> None:
    done = drill(world, snapshot)
    kept = verification_of_drill(snapshot, done)
    assert (kept.kind, kept.ok, kept.digest) == (ProofKind.DRILL, True, done.receipt.digest)
    assert kept.details["receipt"]["mismatches"] == 0


def test_what_does_not_hold_what_was_written_fails(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.resources()
    spoil(monkeypatch, world)
    done = drill(world, snapshot)
    assert not done.ok
    assert done.receipt.mismatches == 1
    assert world.resources() == before


def test_a_drill_that_cannot_take_place_leaves_nothing(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.resources()
    spoil(monkeypatch, world, AttachError("no such device"))
    with pytest.raises(AttachError):
        drill(world, snapshot)
    assert world.resources() == before


def test_the_scratch_volume_carries_its_runs_tags_and_not_the_volumes_name(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Volume] = []
    create = world.cloud.create_volume

    def note(*given: Any) -> Volume:
        made.append(create(*given))
        return made[-1]

    monkeypatch.setattr(world.cloud, "create_volume", note)
    drill(world, snapshot)
    (scratch,) = made
    assert scratch.name.startswith("icebrick-")
    assert "icebrick-run" in scratch.metadata


def test_a_volume_type_that_is_gone_is_told_before_anything_is_made(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: Any) -> None:
        raise CloudError("there is no volume type ssd")

    monkeypatch.setattr(verify_drill, "check_possible", refuse)
    before = world.resources()
    with pytest.raises(CloudError, match="no volume type"):
        drill(world, snapshot)
    assert world.resources() == before


def test_whenever_a_drill_dies_the_next_run_removes_what_it_left(world: World, snapshot: Snapshot) -> None:
    before = world.resources()
    living = world.cloud.faults = world.connector.faults = FaultPlan()
    drill(world, snapshot)
    calls = len(living.calls)
    assert calls > 10
    for number in range(1, calls + 1):
        world.cloud.faults = world.connector.faults = Mortal(number)
        with pytest.raises(Death):
            drill(world, snapshot)
        world.cloud.faults = world.connector.faults = FaultPlan()
        with world.run():
            pass
        assert world.resources() == before, f"after death at call {number} of {living.calls}"
        assert not world.connector.connected
