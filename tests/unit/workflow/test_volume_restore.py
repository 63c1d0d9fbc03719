"""Restoring volumes: onto a copy, onto a new one; never onto the original."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.unit.workflow.conftest import SETTINGS, World

from icebrick.cloud.base import VolumeSettings
from icebrick.errors import CloudUnavailableError, IcebrickError, IncompleteError, SnapshotMissingError, UsageError
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.workflow.restore import VerificationError
from icebrick.workflow.select import Selection
from icebrick.workflow.volume_restore import RestoreOptions

CONTENT = os.urandom(3 << 20)
OTHER = VolumeSettings("renamed", "", {"owner": "bob"}, {}, bootable=False, read_only=True)


def backed_up(world: World) -> str:
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    return volume.id


def settings_of(world: World, volume_id: str) -> VolumeSettings:
    volume = world.cloud.get_volume(volume_id)
    return VolumeSettings(
        volume.name, volume.description, volume.metadata, volume.image_metadata, volume.bootable, volume.read_only
    )


def test_a_volume_that_exists_is_restored_onto_a_copy(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.content(volume_id).write(0, b"damaged")
    restored = world.restore(volume_id).volume_id
    assert restored not in (None, volume_id)
    assert world.content(restored or "") == CONTENT


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
    report = world.restore(volume_id)
    assert (report.bytes_written, report.bytes_matching) == (1 << 20, 2 << 20)


def test_what_was_written_behind_the_backed_up_data_is_zero_again(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.content(volume_id).write(900 << 20, b"later")
    restored = world.restore(volume_id).volume_id or ""
    assert world.content(restored) == CONTENT


def test_a_volume_that_has_grown_has_zeros_behind_the_image(world: World) -> None:
    volume_id = backed_up(world)
    grown = BytesTarget(2 << 30, CONTENT)
    grown.write((2 << 30) - 5, b"later")
    world.cloud.records.content[volume_id] = grown
    world.cloud.records.volumes[volume_id] = replace(world.cloud.records.volumes[volume_id], size=2)
    restored = world.restore(volume_id).volume_id or ""
    assert world.content(restored) == CONTENT


def test_only_the_restored_volume_is_new_and_it_carries_no_tags(world: World) -> None:
    volume_id = backed_up(world)
    before = world.resources()
    report = world.restore(volume_id)
    assert world.resources() - before == {report.volume_id}
    assert "icebrick-run" not in world.cloud.get_volume(report.volume_id or "").metadata


def test_the_copy_has_the_attributes_that_the_volume_has_now(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.apply_settings(volume_id, OTHER)
    assert settings_of(world, world.restore(volume_id).volume_id or "") == OTHER


def test_with_meta_override_the_copy_has_the_attributes_of_the_backup(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.apply_settings(volume_id, OTHER)
    report = world.restore(volume_id, options=RestoreOptions(meta_override=True))
    assert settings_of(world, report.volume_id or "") == SETTINGS
    assert settings_of(world, volume_id) == OTHER


def test_a_volume_that_is_gone_is_made_again_as_it_was(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.delete_volume(volume_id)
    report = world.restore(volume_id)
    assert world.content(report.volume_id or "") == CONTENT
    assert settings_of(world, report.volume_id or "") == SETTINGS
    assert world.cloud.get_volume(report.volume_id or "").size == 1
    assert world.resources() == {report.volume_id}


def test_an_encrypted_volume_that_is_gone_is_refused(world: World) -> None:
    volume = world.make_volume(CONTENT)
    world.cloud.records.volumes[volume.id] = replace(world.cloud.records.volumes[volume.id], encrypted=True)
    world.back_up(volume.id)
    world.cloud.delete_volume(volume.id)
    with pytest.raises(IcebrickError, match="key of its encryption"):
        world.restore(volume.id)


def test_verify_gives_a_receipt(world: World) -> None:
    volume_id = backed_up(world)
    report = world.restore(volume_id, options=RestoreOptions(verify=True))
    receipt = report.receipt
    assert receipt is not None
    assert (receipt.target, receipt.size, receipt.mismatches) == (report.volume_id, 1 << 30, 0)
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
    with pytest.raises(VerificationError, match="1 of") as caught:
        world.restore(volume_id, options=RestoreOptions(verify=True))
    assert [extent.offset for extent in caught.value.receipt.first_mismatches] == [1 << 20]
    assert isinstance(caught.value, IncompleteError)
    assert world.resources() == set()


def test_a_date_chooses_an_earlier_state(world: World) -> None:
    volume_id = backed_up(world)
    between = datetime.now(UTC)
    world.cloud.content(volume_id).write(0, b"later")
    world.back_up(volume_id)
    restored = world.restore(volume_id, Selection(not_after=between)).volume_id or ""
    assert world.content(restored) == CONTENT


def test_a_volume_that_was_never_backed_up_cannot_be_restored(world: World) -> None:
    volume = world.make_volume()
    with pytest.raises(SnapshotMissingError, match=volume.id):
        world.restore(volume.id)


def test_a_volume_smaller_than_the_image_is_refused_before_anything_is_made(world: World) -> None:
    volume_id = backed_up(world)
    record = world.cloud.records.volumes[volume_id]
    world.cloud.records.volumes[volume_id] = replace(record, size=0)
    before = world.resources()
    with pytest.raises(UsageError, match="has 0 GiB"):
        world.restore(volume_id)
    assert world.resources() == before


@pytest.mark.parametrize("call", ["create_clone", "create_attachment", "complete_attachment", "apply_settings"])
def test_a_restore_that_fails_leaves_nothing(world: World, call: str) -> None:
    volume_id = backed_up(world)
    before = world.resources()
    world.cloud.faults.fail(call, CloudUnavailableError("no answer"))
    with pytest.raises(CloudUnavailableError):
        world.restore(volume_id)
    assert world.resources() == before


def test_a_damaged_record_does_not_keep_data_from_being_restored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = world.make_volume(CONTENT)
    monkeypatch.setattr("icebrick.workflow.backup.encode_record", lambda _record: b"{}")
    world.back_up(volume.id)
    assert world.content(world.restore(volume.id).volume_id or "") == CONTENT
