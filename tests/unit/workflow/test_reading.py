"""In which mode a volume is read, and that an image is what was frozen whatever was tried before."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.unit.workflow.conftest import HOST, World
from tests.unit.workflow.filesystems import GIB, make_volume, write_files

from icebrick.attach.base import HostDevice
from icebrick.cloud.base import Mode
from icebrick.connection import ConnectionInfo
from icebrick.encryption import VolumeKey
from icebrick.engine.block.image import find_image
from icebrick.engine.block.restore import restore_image
from icebrick.filesystem import programs
from icebrick.filesystem.base import FileSystem
from icebrick.filesystem.make import make_file_system
from icebrick.filesystem.mount import mounted_for_writing
from icebrick.repository.ids import BlobType
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.tree import Node, decode_tree
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.fakeconnector import FakeConnector, block_device_of
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.report import SavedSnapshot

PARTITIONED = bytes(446) + bytes.fromhex("00010100830100000008000000100000") + bytes(48) + b"\x55\xaa"
BLOCKS, FILES, AUTO = BackupMode.BLOCKS, BackupMode.FILES, BackupMode.AUTO


@pytest.fixture
def world(root: None, world: World) -> World:
    return replace(world, connector=FakeConnector(world.cloud.records, HOST, makes_devices=True))


def back_up(world: World, volume_id: str, mode: BackupMode = AUTO) -> SavedSnapshot:
    before = world.resources()
    (saved,) = world.back_up(volume_id, mode=mode).backups
    assert world.resources() == before
    assert world.connector.connected == set()
    return saved


def stored(world: World, saved: SavedSnapshot) -> dict[str, Node]:
    """What is in a snapshot's root."""
    snapshot = world.repository.load_snapshot(saved.snapshot_id)
    store = world.repository.load_index()
    return {node.name: node for node in decode_tree(store.load(BlobType.TREE, snapshot.tree))}


def image_in(world: World, snapshot: Snapshot) -> bytes:
    """Its beginning, in which all is that tests write."""
    store = world.repository.load_index()
    image = find_image(store, snapshot.tree)
    assert image is not None
    target = BytesTarget(image.size)
    restore_image(image, store, target)
    return beginning(target)


def beginning(content: BytesTarget) -> bytes:
    buffer = bytearray(64 << 20)
    content.read_into(0, memoryview(buffer))
    return bytes(buffer)


def calls(world: World, name: str) -> int:
    return world.cloud.faults.calls.count(name)


def test_a_file_system_is_read_file_by_file(world: World) -> None:
    volume_id = make_volume(world, hello=b"world", empty=b"")
    saved = back_up(world, volume_id)
    assert (saved.mode, saved.mode_reason, saved.problem_count) == (FILES, None, 0)
    assert (saved.size, saved.bytes_read) == (5, 5)
    assert stored(world, saved).keys() == {"files", "filesystem.json", "volume.json"}
    assert calls(world, "create_clone") == 1
    (snapshot,) = world.snapshots()
    assert "mode:files" in snapshot.tags
    assert snapshot.summary is not None
    assert (snapshot.summary.files_new, snapshot.summary.total_files_processed) == (2, 2)


def test_a_snapshot_is_compared_with_the_newest_of_its_mode(world: World) -> None:
    volume_id = make_volume(world, hello=b"world")
    files, blocks = back_up(world, volume_id), back_up(world, volume_id, BLOCKS)
    write_files(world, volume_id, more=b"of it")
    again = back_up(world, volume_id)
    assert (again.mode, again.parent_id) == (FILES, files.snapshot_id)
    assert (again.size, again.digest == files.digest) == (10, False)
    again = back_up(world, volume_id, BLOCKS)
    assert (again.mode, again.parent_id) == (BLOCKS, blocks.snapshot_id)
    assert again.bytes_new < blocks.bytes_new


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the volume holds nothing that blkid knows"),
        (PARTITIONED, "the volume holds a partition table (dos)"),
    ],
    ids=["nothing", "partition table"],
)
def test_what_is_no_file_system_is_read_as_blocks_and_attached_but_once(
    world: World, content: bytes, reason: str
) -> None:
    volume_id = world.make_volume(content).id
    saved = back_up(world, volume_id)
    assert (saved.mode, saved.mode_reason) == (BLOCKS, reason)
    assert stored(world, saved).keys() == {"volume.raw", "volume.fingerprints", "volume.json"}
    assert calls(world, "create_attachment") == 1


def test_files_of_what_is_no_file_system_are_a_failure(world: World) -> None:
    volume_id = world.make_volume(b"no file system").id
    report = world.back_up(volume_id, mode=FILES)
    (failure,) = report.failures
    assert failure.message == (
        f"volume {volume_id} cannot be backed up file by file: the volume holds nothing that blkid knows"
    )
    assert failure.hint is not None
    assert world.snapshots() == []


def test_what_is_not_a_block_device_is_read_as_blocks(world: World) -> None:
    volume_id = make_volume(world, hello=b"world")
    world.connector.makes_devices = False
    assert back_up(world, volume_id).mode_reason == "the storage shows this host a file, which cannot be mounted"


def test_a_file_system_that_cannot_be_made_here_is_read_as_blocks(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    volume_id = make_volume(world, hello=b"world")
    only_blkid = tmp_path_factory.mktemp("bin")
    (only_blkid / "blkid").symlink_to("/usr/sbin/blkid")
    monkeypatch.setattr(programs, "_PATH", str(only_blkid))
    saved = back_up(world, volume_id)
    assert (saved.mode, saved.mode_reason) == (BLOCKS, "the program mkfs.ext4 is not installed")


def test_a_damaged_file_system_is_read_as_blocks_but_is_no_file_system(world: World) -> None:
    volume_id = make_volume(world, hello=b"world")
    content = world.cloud.content(volume_id)
    content.write(4096, bytes(4096))  # where the groups of blocks are described
    saved = back_up(world, volume_id)
    assert saved.mode is BLOCKS
    assert saved.mode_reason is not None
    assert saved.mode_reason.startswith("cannot mount the ext4 file system on /dev/loop")
    assert image_in(world, world.snapshots()[-1]) == beginning(content)
    (failure,) = world.back_up(volume_id, mode=FILES).failures
    assert "cannot mount the ext4 file system" in failure.message


class SpoilingConnector(FakeConnector):
    """Writes to what it attaches for writing, as a mount does that then fails."""

    @contextmanager
    def open_device(self, info: ConnectionInfo, *, size: int, key: VolumeKey | None = None) -> Iterator[HostDevice]:
        if self._records.modes[str(info.data["attachment_id"])] is Mode.WRITE:
            with self.open_target(info, size=size) as target:
                target.write(0, bytes(1 << 20))
        with super().open_device(info, size=size, key=key) as device:
            yield device


def test_an_image_is_never_that_of_a_clone_that_was_mounted(world: World) -> None:
    volume_id = make_volume(world, hello=b"world")
    spoiling = SpoilingConnector(world.cloud.records, HOST, makes_devices=True)
    saved = back_up(replace(world, connector=spoiling), volume_id)
    assert saved.mode is BLOCKS
    assert image_in(world, world.snapshots()[-1]) == beginning(world.cloud.content(volume_id))
    assert calls(world, "create_clone") == 2


def test_a_btrfs_with_subvolumes_is_read_as_blocks(world: World) -> None:
    volume_id = world.make_volume().id
    with block_device_of(world.cloud.content(volume_id)) as device:
        make_file_system(device, FileSystem("btrfs", "", str(uuid.uuid4()), GIB))
        with mounted_for_writing(device, "btrfs") as root:
            below = f"/proc/{os.getpid()}/fd/{root}/below"
            subprocess.run(["btrfs", "subvolume", "create", below], check=True, capture_output=True)
    assert back_up(world, volume_id).mode_reason == "the volume holds a btrfs with subvolumes"
