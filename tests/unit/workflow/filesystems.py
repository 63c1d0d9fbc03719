"""Volumes of the fake cloud that hold real file systems. Needs root."""

from __future__ import annotations

import os
import uuid

from tests.unit.workflow.conftest import World

from icebrick.filesystem.base import FileSystem
from icebrick.filesystem.make import make_file_system
from icebrick.filesystem.mount import mounted_for_reading, mounted_for_writing
from icebrick.testing.fakeconnector import block_device_of

GIB = 1 << 30


def make_volume(world: World, file_system: str = "ext4", **files: bytes) -> str:
    """A volume with a file system that has these files."""
    volume_id = world.make_volume().id
    with block_device_of(world.cloud.content(volume_id)) as device:
        make_file_system(device, FileSystem(file_system, "", str(uuid.uuid4()), GIB))
    write_files(world, volume_id, file_system, **files)
    return volume_id


def write_files(world: World, volume_id: str, file_system: str = "ext4", **files: bytes) -> None:
    with block_device_of(world.cloud.content(volume_id)) as device, mounted_for_writing(device, file_system) as root:
        for name, content in files.items():
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=root), "wb") as file:
                file.write(content)


def read_files(world: World, volume_id: str, file_system: str = "ext4") -> dict[str, bytes]:
    with block_device_of(world.cloud.content(volume_id)) as device, mounted_for_reading(device, file_system) as root:
        names = [name for name in os.listdir(root) if name != "lost+found"]
        return {name: read(root, name) for name in names}


def read(root: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY, dir_fd=root), "rb") as file:
        return file.read()
