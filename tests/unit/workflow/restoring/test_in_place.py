"""Restoring onto the volume itself: it keeps its id, and what it was stays in a volume snapshot."""

from __future__ import annotations

import os

import pytest
from tests.unit.workflow.conftest import SETTINGS, World

from icebrick.cloud.base import VolumeSettings, VolumeSnapshot
from icebrick.errors import AttachError, BackendUnavailableError, CloudError, CloudUnavailableError
from icebrick.run import SAFETY_KEY
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.cloud_suite import settings_of
from icebrick.workflow.restoring.outcome import Way

CONTENT = os.urandom(3 << 20)
LATER = b"written later"


@pytest.fixture
def volume_id(world: World) -> str:
    """Of a volume that was backed up and has changed since."""
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    world.cloud.content(volume.id).write(0, LATER)
    return volume.id


def safety_snapshots(world: World) -> list[VolumeSnapshot]:
    return [each for each in world.cloud.snapshots() if SAFETY_KEY in each.metadata]


def test_the_volume_itself_has_the_content_and_nothing_else_is_made_but_the_safety_snapshot(
    world: World, volume_id: str
) -> None:
    before = world.resources()
    restored = world.restore(volume_id, in_place=True)
    assert (restored.volume_id, restored.way, restored.not_restored) == (volume_id, Way.IN_PLACE, ())
    assert world.content(volume_id) == CONTENT
    assert world.resources() - before == set(restored.safety_snapshot_ids)
    assert world.cloud.get_volume(volume_id).status == "available"


def test_the_safety_snapshot_has_what_the_volume_was_and_no_tags(world: World, volume_id: str) -> None:
    (snapshot_id,) = world.restore(volume_id, in_place=True).safety_snapshot_ids
    (snapshot,) = safety_snapshots(world)
    assert (snapshot.id, set(snapshot.metadata)) == (snapshot_id, {SAFETY_KEY})
    assert snapshot.name.startswith("icebrick-safety-")
    buffer = bytearray(len(LATER))
    world.cloud.content(snapshot_id).read_into(0, memoryview(buffer))
    assert bytes(buffer) == LATER


def test_only_what_differs_is_written(world: World, volume_id: str) -> None:
    filled = world.restore(volume_id, in_place=True).filled
    assert filled.bytes_written == 1 << 20


def test_it_keeps_its_attributes_unless_those_of_the_backup_are_asked_for(world: World, volume_id: str) -> None:
    now = VolumeSettings("renamed", "", {"owner": "bob"}, {}, bootable=False, read_only=False)
    world.cloud.apply_settings(volume_id, now)
    world.restore(volume_id, in_place=True)
    assert settings_of(world.cloud.get_volume(volume_id)) == now
    world.restore(volume_id, in_place=True, meta_override=True)
    assert settings_of(world.cloud.get_volume(volume_id)) == SETTINGS


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"status": "in-use"}, "is in-use, and has to be detached"), ({"read_only": True}, "is read-only")],
    ids=["attached", "read-only"],
)
def test_a_volume_that_cannot_be_written_is_refused_before_anything_is_made(
    world: World, volume_id: str, change: dict[str, object], problem: str
) -> None:
    world.cloud.records.change_volume(volume_id, **change)
    before = world.resources()
    assert problem in world.failed_restore(volume_id, in_place=True).message
    assert world.resources() == before


def test_a_volume_that_is_gone_is_made_anew(world: World, volume_id: str) -> None:
    world.cloud.delete_volume(volume_id)
    restored = world.restore(volume_id, in_place=True)
    assert (restored.way, restored.reason) == (Way.NEW, "the volume is gone")


@pytest.mark.parametrize("call", ["create_snapshot", "replace_snapshot_metadata"])
def test_what_fails_before_it_is_written_leaves_nothing(world: World, volume_id: str, call: str) -> None:
    before = world.resources()
    world.cloud.faults.fail(call, CloudUnavailableError("no answer"))
    failure = world.failed_restore(volume_id, in_place=True)
    assert (failure.message, failure.safety_snapshot_ids) == ("no answer", ())
    assert world.resources() == before
    assert world.content(volume_id)[: len(LATER)] == LATER


@pytest.mark.parametrize("call", ["create_attachment", "connect_attachment", "complete_attachment", "apply_settings"])
def test_what_fails_when_it_may_have_been_written_names_the_safety_snapshot(
    world: World, volume_id: str, call: str
) -> None:
    world.cloud.faults.fail(call, CloudError("refused"))
    failure = world.failed_restore(volume_id, in_place=True)
    (snapshot,) = safety_snapshots(world)
    assert (failure.message, failure.safety_snapshot_ids) == ("refused", (snapshot.id,))
    assert set(snapshot.metadata) == {SAFETY_KEY}
    assert world.cloud.records.attachments == {}


def test_an_attachment_of_which_no_answer_told_is_undone_by_the_next_run(world: World, volume_id: str) -> None:
    world.cloud.faults.fail("create_attachment", CloudUnavailableError("no answer"), after=True)
    world.failed_restore(volume_id, in_place=True)
    assert world.cloud.get_volume(volume_id).status == "reserved"
    with world.run():
        assert world.cloud.get_volume(volume_id).status == "available"


def test_an_unreadable_repository_leaves_the_safety_snapshot_and_makes_no_new_volume(
    world: World, volume_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BackendUnavailableError("the bucket does not answer")

    monkeypatch.setattr("icebrick.workflow.restoring.content.restore_image", fail)
    before = set(world.cloud.records.volumes)
    failure = world.failed_restore(volume_id, in_place=True, recreate_on_error=True)
    assert failure.message == "the bucket does not answer"
    assert len(failure.safety_snapshot_ids) == 1
    assert set(world.cloud.records.volumes) == before


def test_where_it_fails_a_new_volume_is_made_if_that_is_asked_for(world: World, volume_id: str) -> None:
    world.connector.faults.fail("open_target", AttachError("no device appeared"))
    restored = world.restore(volume_id, in_place=True, recreate_on_error=True)
    assert (restored.way, restored.reason) == (Way.NEW, "restoring in place failed: no device appeared")
    assert [each.id for each in safety_snapshots(world)] == list(restored.safety_snapshot_ids)
    assert world.content(restored.volume_id) == CONTENT


def test_a_device_that_does_not_keep_what_is_written_is_told_with_its_receipt_and_the_safety_snapshot(
    world: World, volume_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BytesTarget, "write", lambda *_: None)
    failure = world.failed_restore(volume_id, in_place=True, verify=True)
    assert failure.receipt is not None
    assert (failure.exit_code, failure.receipt.mismatches, len(failure.safety_snapshot_ids)) == (3, 1, 1)


def test_an_attachment_that_stays_is_told_and_the_next_run_removes_it(world: World, volume_id: str) -> None:
    world.cloud.faults.fail("delete_attachment", CloudUnavailableError("no answer"))
    volume = world.cloud.get_volume(volume_id)
    with world.run() as (access, _), access.safeguarded(volume, []) as alone, alone.writable(volume):
        pass
    assert [left.split()[0] for left in access.leftovers] == ["attachment"]
    assert world.cloud.get_volume(volume_id).status == "in-use"
    with world.run():
        pass
    assert world.cloud.get_volume(volume_id).status == "available"
    assert len(safety_snapshots(world)) == 1
