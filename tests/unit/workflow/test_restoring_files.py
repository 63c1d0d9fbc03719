"""Files of a volume restored in the cloud: into the file system it has, or into one that is made again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.workflow.conftest import HOST, World
from tests.unit.workflow.filesystems import make_volume, read_files, write_files
from tests.unit.workflow.grouping import Groups

from icebrick.engine.file.options import Overwrite
from icebrick.filesystem.base import FileSystem
from icebrick.filesystem.detect import detect
from icebrick.testing.fakeconnector import FakeConnector, block_device_of
from icebrick.workflow.naming import BackupMode, volume_of_path
from icebrick.workflow.report import Receipt
from icebrick.workflow.restore_files import FilesReceipt
from icebrick.workflow.restoring.outcome import FilledFiles, VolumeRestore, Way

OLD = {"kept": b"as it was", "changed": b"before"}


@pytest.fixture
def world(root: None, world: World) -> World:
    return replace(world, connector=FakeConnector(world.cloud.records, HOST, makes_devices=True))


def backed_up(world: World, **files: bytes) -> str:
    volume_id = make_volume(world, **files)
    (saved,) = world.back_up(volume_id, mode=BackupMode.FILES).backups
    assert saved.problem_count == 0
    return volume_id


def filled(restored: VolumeRestore) -> FilledFiles:
    assert isinstance(restored.filled, FilledFiles)
    return restored.filled


def test_files_are_put_into_a_copy_and_the_original_stays(world: World) -> None:
    volume_id = backed_up(world, **OLD)
    now = {"kept": b"as it was", "changed": b"after", "new": b"n"}
    write_files(world, volume_id, **now)
    restored = world.restore(volume_id, verify=True)
    assert restored.way is Way.COPY
    assert read_files(world, restored.volume_id) == {**OLD, "new": b"n"}
    assert read_files(world, volume_id) == now
    assert (filled(restored).bytes_written, filled(restored).removed) == (6, 0)
    assert isinstance(restored.receipt, FilesReceipt)
    assert (restored.receipt.files, restored.receipt.extra, restored.receipt.mismatches) == (2, 1, 0)


def test_what_the_backup_has_not_is_removed_when_that_is_asked_for(world: World) -> None:
    volume_id = backed_up(world, **OLD)
    write_files(world, volume_id, new=b"n")
    restored = world.restore(volume_id, delete_extra=True, verify=True)
    assert read_files(world, restored.volume_id) == OLD
    assert (filled(restored).removed, filled(restored).bytes_written) == (1, 0)


def test_files_that_are_newer_are_kept_when_that_is_asked_for(world: World) -> None:
    volume_id = backed_up(world, **OLD)
    write_files(world, volume_id, changed=b"after")
    restored = world.restore(volume_id, overwrite=Overwrite.IF_NEWER)
    assert read_files(world, restored.volume_id) == {**OLD, "changed": b"after"}


def test_a_file_system_that_is_gone_with_its_volume_is_made_again(world: World) -> None:
    volume_id = backed_up(world, **OLD)
    with block_device_of(world.cloud.content(volume_id)) as device:
        before = detect(device)
    world.cloud.delete_volume(volume_id)
    restored = world.restore(volume_id, verify=True)
    assert restored.way is Way.NEW
    with block_device_of(world.cloud.content(restored.volume_id)) as device:
        after = detect(device)
    assert isinstance(before, FileSystem)
    assert isinstance(after, FileSystem)
    assert (after.type, after.uuid, after.size) == (before.type, before.uuid, before.size)
    assert read_files(world, restored.volume_id) == OLD
    assert restored.receipt is not None
    assert restored.receipt.mismatches == 0


def test_files_are_restored_in_place(world: World) -> None:
    volume_id = backed_up(world, **OLD)
    write_files(world, volume_id, changed=b"after")
    restored = world.restore(volume_id, in_place=True)
    assert (restored.volume_id, restored.way) == (volume_id, Way.IN_PLACE)
    assert read_files(world, volume_id) == OLD


@pytest.mark.parametrize(
    ("content", "holds"),
    [(None, "a file system of type xfs"), (b"", "nothing that blkid knows")],
    ids=["xfs", "nothing"],
)
def test_a_volume_that_holds_something_else_now_takes_no_files_but_a_new_one_does(
    world: World, content: bytes | None, holds: str
) -> None:
    volume_id = backed_up(world, **OLD)
    other = make_volume(world, "xfs") if content is None else world.make_volume(content).id
    world.cloud.records.content[volume_id] = world.cloud.content(other).copy()
    before = world.resources()
    failure = world.failed_restore(volume_id)
    assert failure.message.startswith("volume ")
    assert f" holds {holds}, and the files of snapshot " in failure.message
    assert "--recreate-vol-on-error" in (failure.hint or "")
    assert world.resources() == before
    restored = world.restore(volume_id, recreate_on_error=True)
    assert restored.way is Way.NEW
    assert read_files(world, restored.volume_id) == OLD


def test_a_file_system_that_cannot_be_mounted_takes_no_files(world: World) -> None:
    volume_id = backed_up(world, **OLD)
    world.cloud.content(volume_id).write(4096, bytes(4096))  # where the groups of blocks are described
    assert "cannot mount the ext4 file system" in world.failed_restore(volume_id).message


def test_a_volume_that_comes_as_a_file_takes_no_files(world: World) -> None:
    volume_id = backed_up(world, **OLD)
    world.connector.makes_devices = False
    assert "as a file, which cannot be mounted" in world.failed_restore(volume_id).message


def test_a_group_comes_back_with_each_member_in_its_mode(world: World) -> None:
    groups = Groups(world)
    group = groups.make(2)
    of_files, of_blocks = group.volume_ids
    world.cloud.records.content[of_files] = world.cloud.content(make_volume(world, **OLD)).copy()
    report = groups.back_up(group)
    assert {volume_of_path(each.path): each.mode for each in report.backups} == {
        of_files: BackupMode.FILES,
        of_blocks: BackupMode.BLOCKS,
    }
    before = world.content(of_blocks)
    groups.lose(group)
    restored = {each.source_id: each.volume_id for each in groups.restore(group, verify=True).restores}
    assert read_files(world, restored[of_files]) == OLD
    assert world.content(restored[of_blocks]).rstrip(b"\0") == before


def test_an_image_of_the_same_volume_is_restored_as_an_image(world: World) -> None:
    volume_id = backed_up(world, **OLD)
    world.back_up(volume_id, mode=BackupMode.BLOCKS)
    write_files(world, volume_id, changed=b"after", new=b"n")
    restored = world.restore(volume_id, verify=True)
    assert isinstance(restored.receipt, Receipt)
    assert read_files(world, restored.volume_id) == OLD
