"""Backing up volumes: what is stored, and that nothing is left in the cloud whatever happens."""

from __future__ import annotations

import os

import pytest
from tests.unit.workflow.conftest import World, named

from icebrick.backend.base import FileType, Handle
from icebrick.errors import AttachError, CloudUnavailableError, Interrupted, UnexpectedStateError
from icebrick.progress import NO_PROGRESS
from icebrick.repository.ids import BlobType
from icebrick.workflow.backup import plan_backup
from icebrick.workflow.images import load_images

CONTENT = os.urandom(3 << 20)


def test_a_backup_is_a_snapshot_named_after_the_volume(world: World) -> None:
    volume = world.make_volume(CONTENT)
    report = world.back_up(volume.id, tags=("nightly",))
    (snapshot,) = world.snapshots()
    assert (snapshot.hostname, snapshot.paths) == ("cinder", (f"/cinder/{volume.id}",))
    assert f"volume:{volume.id}" in snapshot.tags
    assert snapshot.tags[-2:] == ("nightly", "mode:blocks")
    assert report.backups[0].snapshot_id == snapshot.id


def test_the_volume_and_its_cloud_are_as_before(world: World) -> None:
    volume = world.make_volume(CONTENT)
    before, content = world.resources(), world.content(volume.id)
    world.back_up(volume.id)
    assert world.resources() == before
    assert world.cloud.get_volume(volume.id) == volume
    assert world.content(volume.id) == content
    assert world.connector.connected == set()


def test_the_record_of_the_volume_is_stored_with_it(world: World) -> None:
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    images = load_images(world.repository, NO_PROGRESS)
    assert images.record(images.snapshots[0]).volume == volume


def test_the_next_backup_is_compared_with_the_one_before(world: World) -> None:
    volume = world.make_volume(CONTENT)
    first = world.back_up(volume.id).backups[0]
    second = world.back_up(volume.id).backups[0]
    assert second.parent_id == first.snapshot_id
    assert second.bytes_new < 100_000 < first.bytes_new


@pytest.mark.damages_repository("a pack is gone")
def test_a_backup_whose_parent_is_damaged_reads_everything(world: World) -> None:
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    images = load_images(world.repository, NO_PROGRESS)
    pack, _ = images.store.find(BlobType.TREE, images.snapshots[0].tree) or (b"", None)
    world.backend.remove(Handle(FileType.PACK, pack.hex()))
    report = world.back_up(volume.id)
    assert report.backups[0].bytes_read >= len(CONTENT)
    assert world.content(world.restore(volume.id).volume_id) == CONTENT


def test_one_volumes_failure_does_not_stop_the_others(world: World) -> None:
    bad, good = world.make_volume(CONTENT), world.make_volume(CONTENT)
    world.cloud.faults.fail("create_snapshot", UnexpectedStateError("volume is being retyped"))
    report = world.back_up(bad.id, good.id)
    assert [failure.volume_id for failure in report.failures] == [bad.id]
    assert [backup.path for backup in report.backups] == [f"/cinder/{good.id}"]


def test_a_volume_that_is_not_there_is_a_failure_of_its_own(world: World) -> None:
    good = world.make_volume(CONTENT)
    report = world.back_up("absent", good.id)
    assert [failure.volume_id for failure in report.failures] == ["absent"]
    assert len(report.backups) == 1


def test_a_volume_named_twice_is_backed_up_once(world: World) -> None:
    volume = world.make_volume(CONTENT)
    assert len(world.back_up(volume.id, volume.id).backups) == 1


def test_a_plan_makes_nothing(world: World) -> None:
    volume = world.make_volume(CONTENT)
    before = world.resources()
    plan = plan_backup(world.cloud, named(volume.id))
    assert [planned.id for planned in plan.volumes] == [volume.id]
    assert world.resources() == before


@pytest.mark.parametrize(
    "call", ["create_snapshot", "create_clone", "create_attachment", "connect_attachment", "complete_attachment"]
)
@pytest.mark.parametrize("after", [False, True])
def test_a_failure_on_the_way_leaves_no_snapshot_and_nothing_that_is_not_told_or_tagged(
    world: World, call: str, after: bool
) -> None:
    volume = world.make_volume(CONTENT)
    before = world.resources()
    world.cloud.faults.fail(call, CloudUnavailableError("no answer"), after=after)
    report = world.back_up(volume.id)
    assert [failure.message for failure in report.failures] == ["no answer"]
    assert world.snapshots() == []
    left = world.resources() - before
    tagged = {id_ for id_ in left if "icebrick-run" in _metadata(world, id_)}
    attachments = {a.id for a in world.cloud.records.attachments.values() if a.volume_id in tagged}
    assert left == tagged | attachments


def _metadata(world: World, resource_id: str) -> dict[str, str]:
    records = world.cloud.records
    resource = records.volumes.get(resource_id) or records.snapshots.get(resource_id)
    return dict(resource.metadata) if resource else {}


def test_an_unreadable_device_is_a_failure_that_leaves_nothing(world: World) -> None:
    volume = world.make_volume(CONTENT)
    before = world.resources()
    world.connector.faults.fail("open_device", AttachError("no device appeared"))
    assert world.back_up(volume.id).failures[0].message == "no device appeared"
    assert world.resources() == before


def test_what_cannot_be_removed_after_success_is_told_and_the_backup_counts(world: World) -> None:
    volume = world.make_volume(CONTENT)
    world.cloud.faults.fail("delete_volume", CloudUnavailableError("no answer"))
    report = world.back_up(volume.id)
    assert len(report.backups) == 1
    assert report.failures == ()
    assert "no answer" in report.leftovers[0]


def test_what_could_not_be_removed_is_removed_by_the_next_run(world: World) -> None:
    volume = world.make_volume(CONTENT)
    before = world.resources()
    world.cloud.faults.fail("delete_volume", CloudUnavailableError("no answer"))
    world.back_up(volume.id)
    assert world.resources() != before
    world.back_up(volume.id)
    assert world.resources() == before


def test_an_interrupt_unwinds_everything(world: World) -> None:
    volume = world.make_volume(CONTENT)
    before = world.resources()
    world.cloud.faults.fail("complete_attachment", Interrupted("interrupted"))
    report = world.back_up(volume.id)
    assert report.interrupted
    assert [failure.message for failure in report.failures] == ["interrupted"]
    assert world.resources() == before
    assert world.snapshots() == []


def test_a_host_that_cannot_attach_is_told_before_anything_is_made(world: World) -> None:
    volume = world.make_volume()
    before, calls = world.resources(), list(world.cloud.faults.calls)
    world.connector.faults.fail("properties", AttachError("no root"))
    with pytest.raises(AttachError, match="no root"):
        world.back_up(volume.id)
    assert world.resources() == before
    assert world.cloud.faults.calls == calls
