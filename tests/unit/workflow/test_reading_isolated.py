"""Volumes whose file systems a virtual machine reads, and what is done where there is none."""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.workflow.conftest import HOST, World
from tests.unit.workflow.filesystems import GIB, make_volume
from tests.unit.workflow.test_reading import AUTO, BLOCKS, FILES, back_up, beginning, calls, stored

from icebrick.filesystem.base import FileSystem
from icebrick.filesystem.make import make_file_system
from icebrick.filesystem.mount import mounted_for_writing
from icebrick.microvm import qemu
from icebrick.microvm.image import Image
from icebrick.testing.fakeconnector import FakeConnector, block_device_of
from icebrick.workflow.readers import IsolatedReader
from icebrick.workflow.restore_files import find_files


@pytest.fixture
def world(root: None, reader_dir: Path, world: World) -> World:
    connector = FakeConnector(world.cloud.records, HOST, makes_devices=True)
    return replace(world, connector=connector, reader=IsolatedReader(reader_dir))


def test_a_file_system_is_read_through_an_attachment_that_cannot_be_written(world: World) -> None:
    volume_id = make_volume(world, hello=b"world", empty=b"")
    before = beginning(world.cloud.content(volume_id))
    saved = back_up(world, volume_id)
    assert (saved.mode, saved.mode_reason, saved.problem_count) == (FILES, None, 0)
    assert (saved.size, saved.bytes_read) == (5, 5)
    assert stored(world, saved).keys() == {"files", "filesystem.json", "volume.json"}
    assert (calls(world, "create_clone"), calls(world, "create_attachment")) == (1, 1)
    assert beginning(world.cloud.content(volume_id)) == before


def test_a_btrfs_with_subvolumes_is_read_as_blocks_through_the_same_attachment(world: World) -> None:
    volume_id = world.make_volume().id
    with block_device_of(world.cloud.content(volume_id)) as device:
        make_file_system(device, FileSystem("btrfs", "", str(uuid.uuid4()), GIB))
        with mounted_for_writing(device, "btrfs") as root:
            path = f"/proc/{os.getpid()}/fd/{root}/below"
            subprocess.run(["btrfs", "subvolume", "create", path], check=True, capture_output=True)
    saved = back_up(world, volume_id)
    assert (saved.mode, saved.mode_reason) == (BLOCKS, "the volume holds a btrfs with subvolumes")
    assert calls(world, "create_attachment") == 1


@pytest.mark.parametrize(("file_system", "options"), [("vfat", ("-n", "STICK")), ("ntfs", ("-F", "-Q"))])
def test_foreign_files_are_read_when_they_are_asked_for_but_do_not_come_back_into_the_cloud(
    world: World, file_system: str, options: tuple[str, ...]
) -> None:
    volume_id = world.make_volume().id
    with block_device_of(world.cloud.content(volume_id)) as device:
        subprocess.run([f"mkfs.{file_system}", *options, device], check=True, capture_output=True)
    reason = f"the volume holds a file system of type {file_system}, not of ext4, xfs, btrfs"
    assert back_up(world, volume_id).mode_reason == reason
    saved = back_up(world, volume_id, FILES)
    assert (saved.mode, saved.problem_count) == (FILES, 0)
    assert find_files(world.repository.load_index(), world.repository.load_snapshot(saved.snapshot_id)).root is not None
    failure = world.failed_restore(volume_id)
    assert failure.message == f"a file system of type {file_system} can be read here, but neither made nor written"
    assert failure.hint == "'icebrick restore --target DIRECTORY' restores its files to this host."


def test_without_a_virtual_machine_it_is_blocks_or_an_error_and_never_a_mount(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume_id = make_volume(world, hello=b"world")
    monkeypatch.setattr(qemu, "_PATH", str(tmp_path))
    monkeypatch.setattr("icebrick.workflow.readers.mounted_for_reading", None)
    saved = back_up(world, volume_id, AUTO)
    assert saved.mode is BLOCKS
    assert saved.mode_reason is not None
    assert saved.mode_reason.startswith("the program ")
    (failure,) = world.back_up(volume_id, mode=FILES).failures
    assert failure.message.endswith(" is not installed")
    assert failure.hint is not None
    assert "--reader host" in failure.hint


def test_what_the_guest_has_no_program_for_is_told_before_one_is_started(
    world: World, boot_image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icebrick.workflow.readers.load_image", lambda _: replace(boot_image, ntfs=False))
    monkeypatch.setattr("icebrick.workflow.readers.started", None)
    volume_id = world.make_volume().id
    with block_device_of(world.cloud.content(volume_id)) as device:
        subprocess.run(["mkfs.ntfs", "-F", "-Q", device], check=True, capture_output=True)
    (failure,) = world.back_up(volume_id, mode=FILES).failures
    assert failure.message.endswith("the reader has no program for ntfs, which Debian has in ntfs-3g")
