"""What a volume that is made anew has of the backed-up one, attribute by attribute, and what it is told not to have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.workflow.conftest import World

from icebrick.cloud.base import GroupSpec, Volume, VolumeSpec
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakerecords import BETA
from icebrick.workflow.restoring.attributes import group_to_join, not_restored, spec_for
from icebrick.workflow.restoring.outcome import VolumeRestore

TYPE = "__DEFAULT__"
PLAIN = Volume("v1", "disk", "available", 1, project_id="p1", volume_type="ssd", availability_zone="nova")


def made_anew(world: World, volume: Volume, **asked: Any) -> tuple[VolumeRestore, Volume]:
    """Backed up, deleted and restored."""
    world.back_up(volume.id)
    if volume.group_id is not None:
        world.cloud.remove_from_group(volume.id)
    world.cloud.delete_volume(volume.id)
    restored = world.restore(volume.id, **asked)
    return restored, world.cloud.get_volume(restored.volume_id)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("name", "renamed"),
        ("name", ""),
        ("description", "of a server\nin the cellar"),
        ("size", 1),
        ("volume_type", "fast"),
        ("availability_zone", "cellar"),
        ("metadata", {"owner": "anna", "tier: 1/2.3_4-5": "ö"}),
        ("metadata", {}),
        ("image_metadata", {"os_distro": "debian", "hw_disk_bus": "scsi"}),
        ("bootable", True),
        ("bootable", False),
        ("read_only", True),
        ("read_only", False),
    ],
)
def test_an_attribute_that_can_be_restored_is(world: World, attribute: str, value: object) -> None:
    world.cloud.records.volume_types.add("fast")
    world.cloud.records.availability_zones.add("cellar")
    volume = world.make_volume(b"data")
    world.cloud.records.change_volume(volume.id, **{attribute: value})
    restored, now = made_anew(world, world.cloud.get_volume(volume.id))
    assert getattr(now, attribute) == value
    assert restored.not_restored == ()


# Types, zones and sizes


def test_types_and_zones_are_replaced_where_it_is_asked_for(world: World) -> None:
    world.cloud.records.volume_types = {"nvme"}
    world.cloud.records.availability_zones = {"attic"}
    volume = world.cloud.records.volumes[world.cloud.create_volume(VolumeSpec("disk", 1, "nvme")).id]
    world.cloud.records.change_volume(volume.id, volume_type="ssd", availability_zone="cellar")
    restored, now = made_anew(world, volume, map_type={"ssd": "nvme"}, map_az={"cellar": "attic"})
    assert (now.volume_type, now.availability_zone) == ("nvme", "attic")
    told = [(each.attribute, each.was, each.reason) for each in restored.not_restored]
    assert told == [("volume_type", "ssd", "mapped to nvme"), ("availability_zone", "cellar", "mapped to attic")]


@pytest.mark.parametrize(
    ("change", "message", "option"),
    [
        ({"volume_type": "ssd"}, "there is no volume type ssd here", "--map-type ssd=NEW; there are: __DEFAULT__."),
        ({"availability_zone": "attic"}, "there is no availability zone attic here", "--map-az attic=NEW"),
    ],
    ids=["type", "zone"],
)
def test_a_type_or_zone_that_is_not_there_is_told_with_the_option_before_anything_is_made(
    world: World, change: dict[str, str], message: str, option: str
) -> None:
    volume = world.make_volume(b"data")
    world.cloud.records.change_volume(volume.id, **change)
    world.back_up(volume.id)
    world.cloud.delete_volume(volume.id)
    failure = world.failed_restore(volume.id)
    assert message in failure.message
    assert option in (failure.hint or "")
    assert world.resources() == set()


def test_a_new_volume_is_as_large_as_the_content_needs() -> None:
    assert spec_for(PLAIN, (1 << 30) + 1, {}, {}).size == 2
    assert spec_for(replace(PLAIN, size=5), 1, {}, {}).size == 5


# Groups


def member(world: World) -> Volume:
    group = world.cloud.create_group(GroupSpec("pair", "consistent", (TYPE,)))
    return world.cloud.create_volume(VolumeSpec("member", 1, volume_type=TYPE, group_id=group.id))


def test_the_group_is_joined_again(world: World) -> None:
    volume = member(world)
    restored, now = made_anew(world, volume)
    assert (now.group_id, restored.not_restored) == (volume.group_id, ())


def reasons(restored: VolumeRestore) -> dict[str, str]:
    return {each.attribute: each.reason for each in restored.not_restored}


def test_a_group_that_is_gone_is_told(world: World) -> None:
    volume = member(world)
    assert volume.group_id is not None
    world.back_up(volume.id)
    world.cloud.remove_from_group(volume.id)
    world.cloud.delete_volume(volume.id)
    world.cloud.delete_group(volume.group_id)
    assert reasons(world.restore(volume.id)) == {"group_id": "the group is gone"}


def test_a_group_whose_id_is_none_is_not_asked_for() -> None:
    cloud = FakeCloud()
    group_id, reason = group_to_join(cloud, replace(PLAIN, group_id="../types/1f2e"), spec_for(PLAIN, 1, {}, {}))
    assert (group_id, reason, cloud.faults.calls) == (None, "the group is gone", [])


def test_a_group_that_does_not_take_the_new_volumes_type_is_told(world: World) -> None:
    world.cloud.records.volume_types.add("nvme")
    restored, _ = made_anew(world, member(world), map_type={TYPE: "nvme"})
    assert reasons(restored)["group_id"] == "the group takes no volumes of type nvme"


def test_a_group_of_another_project_is_told(world: World) -> None:
    volume = member(world)
    assert volume.group_id is not None
    group = world.cloud.records.groups[volume.group_id]
    world.back_up(volume.id)
    world.cloud.remove_from_group(volume.id)
    world.cloud.delete_volume(volume.id)
    world.cloud.records.groups[volume.group_id] = replace(group, project_id=BETA.id)
    assert reasons(world.restore(volume.id)) == {"group_id": "the group is gone"}  # nobody sees it from here


def test_a_copy_is_in_no_group_and_says_so(world: World) -> None:
    volume = member(world)
    world.back_up(volume.id)
    assert reasons(world.restore(volume.id)) == {"group_id": "a copy is in no group"}


# What cannot be restored


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (replace(PLAIN, multiattach=True), PLAIN, {"multiattach": "the type decides that"}),
        (replace(PLAIN, encrypted=True), PLAIN, {"encrypted": "the type decides that"}),
        (PLAIN, replace(PLAIN, size=2), {"size": "2 GiB were needed"}),
        (replace(PLAIN, project_id="p2"), PLAIN, {"project_id": "another project was asked for"}),
        (replace(PLAIN, group_id="g1"), PLAIN, {"group_id": "why"}),
        (replace(PLAIN, volume_type=None), PLAIN, {}),
        (PLAIN, PLAIN, {}),
    ],
)
def test_what_differs_is_told(was: Volume, now: Volume, told: dict[str, str]) -> None:
    found = not_restored(was, now, project_id="p1", group="why")
    assert {each.attribute: each.reason for each in found} == told


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attachments", [{"server_id": "s1", "device": "/dev/vdb"}]),
        ("created_at", "2026-11-23T06:15:00"),
        ("user_id", "u1"),
        ("os-vol-host-attr:host", "host@lvm#pool"),
        ("snapshot_id", "s1"),
        ("source_volid", "v0"),
        ("replication_status", "enabled"),
        ("service_uuid", "u1"),
        ("provider_id", "p1"),
        ("consistencygroup_id", "c1"),
    ],
)
def test_what_cinder_told_and_takes_from_nobody_is_told_too(key: str, value: object) -> None:
    was = replace(PLAIN, record={key: value})
    (told,) = not_restored(was, PLAIN, project_id="p1", group="")
    assert (told.attribute, told.was) == (key, value)


@pytest.mark.parametrize("value", [None, "", [], False, "disabled"])
def test_what_was_not_there_is_not_told(value: object) -> None:
    was = replace(PLAIN, record={"replication_status": value, "snapshot_id": value})
    assert list(not_restored(was, PLAIN, project_id="p1", group="")) == []
