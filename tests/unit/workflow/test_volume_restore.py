"""Restoring volumes that exist, onto a copy, and volumes that are gone, onto a new one; never onto the original."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from tests.unit.workflow.conftest import SETTINGS, World, named

from icebrick.cloud.base import VolumeSettings
from icebrick.errors import CloudUnavailableError
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.cloud_suite import settings_of
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.outcome import Way
from icebrick.workflow.select import Selection

CONTENT = os.urandom(3 << 20)
OTHER = VolumeSettings("renamed", "", {"owner": "bob"}, {}, bootable=False, read_only=True)


def backed_up(world: World) -> str:
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    return volume.id


def test_a_volume_that_exists_is_restored_onto_a_copy(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.content(volume_id).write(0, b"damaged")
    restored = world.restore(volume_id)
    assert (restored.source_id, restored.way, restored.reason) == (volume_id, Way.COPY, "the volume exists")
    assert restored.volume_id != volume_id
    assert world.content(restored.volume_id) == CONTENT


def test_the_original_is_not_touched(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.content(volume_id).write(0, b"damaged")
    before = world.cloud.get_volume(volume_id)
    world.restore(volume_id)
    assert world.cloud.get_volume(volume_id) == before
    assert world.content(volume_id)[:7] == b"damaged"


def test_only_what_differs_is_written(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.content(volume_id).write(0, b"damaged")
    filled = world.restore(volume_id).filled
    assert (filled.bytes_written, filled.bytes_matching) == (1 << 20, 2 << 20)


def test_what_was_written_behind_the_backed_up_data_is_zero_again(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.content(volume_id).write(900 << 20, b"later")
    assert world.content(world.restore(volume_id).volume_id) == CONTENT


def test_a_volume_that_has_grown_has_zeros_behind_the_image(world: World) -> None:
    volume_id = backed_up(world)
    grown = BytesTarget(2 << 30, CONTENT)
    grown.write((2 << 30) - 5, b"later")
    world.cloud.records.content[volume_id] = grown
    world.cloud.records.change_volume(volume_id, size=2)
    assert world.content(world.restore(volume_id).volume_id) == CONTENT


def test_only_the_restored_volume_is_new_and_it_carries_no_tags(world: World) -> None:
    volume_id = backed_up(world)
    before = world.resources()
    restored = world.restore(volume_id)
    assert world.resources() - before == {restored.volume_id}
    assert "icebrick-run" not in world.cloud.get_volume(restored.volume_id).metadata


def test_the_copy_has_the_attributes_that_the_volume_has_now(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.apply_settings(volume_id, OTHER)
    assert settings_of(world.cloud.get_volume(world.restore(volume_id).volume_id)) == OTHER


def test_with_meta_override_the_copy_has_the_attributes_of_the_backup(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.apply_settings(volume_id, OTHER)
    restored = world.restore(volume_id, meta_override=True)
    assert settings_of(world.cloud.get_volume(restored.volume_id)) == SETTINGS
    assert settings_of(world.cloud.get_volume(volume_id)) == OTHER


def test_a_volume_that_is_gone_is_made_again_as_it_was(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.delete_volume(volume_id)
    restored = world.restore(volume_id)
    assert (restored.way, restored.reason) == (Way.NEW, "the volume is gone")
    assert world.content(restored.volume_id) == CONTENT
    assert settings_of(world.cloud.get_volume(restored.volume_id)) == SETTINGS
    assert world.resources() == {restored.volume_id}


def test_verify_gives_a_receipt(world: World) -> None:
    restored = world.restore(backed_up(world), verify=True)
    receipt = restored.receipt
    assert receipt is not None
    assert (receipt.target, receipt.size, receipt.mismatches) == (restored.volume_id, 1 << 30, 0)
    assert receipt.blocks - receipt.zero_blocks == 3


def test_a_device_that_forgets_what_was_written_is_found_out_and_its_volume_does_not_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume_id = backed_up(world)
    world.cloud.delete_volume(volume_id)
    write = BytesTarget.write

    def forgetful(self: BytesTarget, offset: int, data: bytes) -> None:
        write(self, offset, bytes(len(data)) if offset == 1 << 20 else data)

    monkeypatch.setattr(BytesTarget, "write", forgetful)
    failure = world.failed_restore(volume_id, verify=True)
    assert failure.receipt is not None
    assert [extent.offset for extent in failure.receipt.first_mismatches] == [1 << 20]
    assert (failure.exit_code, failure.message[:5]) == (3, "1 of ")
    assert world.resources() == set()


def test_a_date_chooses_an_earlier_state(world: World) -> None:
    volume_id = backed_up(world)
    between = datetime.now(UTC)
    world.cloud.content(volume_id).write(0, b"later")
    world.back_up(volume_id)
    restored = world.restore(volume_id, selection=Selection(not_after=between))
    assert world.content(restored.volume_id) == CONTENT


def test_a_snapshots_id_is_enough(world: World) -> None:
    volume_id = backed_up(world)
    (snapshot,) = world.snapshots()
    report = world.run_restore(RestoreRequest(None, Selection(snapshot.id or "")))
    assert [restored.source_id for restored in report.restores] == [volume_id]


def test_a_volume_that_was_never_backed_up_cannot_be_restored(world: World) -> None:
    volume = world.make_volume()
    failure = world.failed_restore(volume.id)
    assert (failure.subject, failure.message) == (f"volume {volume.id}", f"no snapshot of volume {volume.id}")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"size": 0}, "has 0 GiB, and"),
        ({"status": "error"}, "is in state error"),
        ({"status": "error_extending"}, "is in state error_extending"),
    ],
)
def test_a_volume_that_cannot_be_copied_is_refused_before_anything_is_made(
    world: World, change: dict[str, object], problem: str
) -> None:
    volume_id = backed_up(world)
    world.cloud.records.change_volume(volume_id, **change)
    before = world.resources()
    failure = world.failed_restore(volume_id)
    assert problem in failure.message
    assert "--recreate-vol-on-error" in (failure.hint or "")
    assert world.resources() == before


COPYING = (
    "find_volume",
    "create_snapshot",
    "create_clone",
    "create_attachment",
    "connect_attachment",
    "complete_attachment",
    "apply_settings",
)
CREATING = (
    "find_volume",
    "volume_types",
    "availability_zones",
    "create_volume",
    "create_attachment",
    "connect_attachment",
    "complete_attachment",
    "apply_settings",
)


@pytest.mark.parametrize(
    ("gone", "call"), [*((False, call) for call in COPYING), *((True, call) for call in CREATING)], ids=str
)
def test_a_restore_that_fails_leaves_nothing(world: World, gone: bool, call: str) -> None:
    volume_id = backed_up(world)
    if gone:
        world.cloud.delete_volume(volume_id)
    before = world.resources()
    world.cloud.faults.fail(call, CloudUnavailableError("no answer"))
    assert world.failed_restore(volume_id).message == "no answer"
    assert world.resources() == before


def test_a_damaged_record_does_not_keep_data_from_being_restored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = world.make_volume(CONTENT)
    monkeypatch.setattr("icebrick.workflow.record.encode_record", lambda _record: b"{}")
    world.back_up(volume.id)
    assert world.content(world.restore(volume.id).volume_id) == CONTENT


def test_of_several_volumes_each_is_restored_and_a_failure_stops_no_other(world: World) -> None:
    volume_ids = [backed_up(world) for _ in range(3)]
    world.cloud.records.change_volume(volume_ids[1], status="error")
    request = RestoreRequest(named(*volume_ids, "never-backed-up"))
    report = world.run_restore(request, capacity=new_capacity(3, threads=2))
    assert [restored.source_id for restored in report.restores] == [volume_ids[0], volume_ids[2]]
    assert [failure.volume_id for failure in report.failures] == ["never-backed-up", volume_ids[1]]
    assert {world.content(restored.volume_id) for restored in report.restores} == {CONTENT}


def test_volumes_for_which_the_quota_does_not_suffice_at_once_wait_for_each_other(world: World) -> None:
    volume_ids = [backed_up(world) for _ in range(3)]
    world.cloud.records.quota = 7  # the volumes, their copies, and the volume snapshot of one at a time
    report = world.run_restore(RestoreRequest(named(*volume_ids)), capacity=new_capacity(3, threads=2))
    assert (len(report.restores), report.failures) == (3, ())


def test_a_run_that_is_asked_to_end_tells_what_it_has_not_begun(world: World) -> None:
    volume_id = backed_up(world)
    capacity = new_capacity(1, threads=2)
    capacity.stop.ask()
    report = world.run_restore(RestoreRequest(named(volume_id)), capacity=capacity)
    assert (report.interrupted, report.not_begun) == (True, (volume_id,))
