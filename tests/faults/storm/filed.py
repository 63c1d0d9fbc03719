"""What volumes of the storm's world hold: pages; or files, where one has a file system. That needs root."""

from __future__ import annotations

import os

from icebrick.blockdev import Extent
from icebrick.errors import FileSystemError
from icebrick.filesystem.base import FileSystem
from icebrick.filesystem.make import make_file_system
from icebrick.filesystem.mount import mounted_for_reading, mounted_for_writing
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.treecache import TreeCache
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.fakeconnector import block_device_of
from icebrick.workflow.browse import dump_content, find_path, list_directory

EXT4_MAGIC, _MAGIC_OFFSET = b"\x53\xef", 1024 + 56
_UUID = "0f11ed00-0000-4000-8000-000000000001"


def pages(device: BytesTarget) -> dict[int, bytes]:
    """What is not zero, by offset."""
    found = {}
    for extent in device.extents():
        piece = bytearray(extent.length)
        device.read_into(extent.offset, memoryview(piece))
        if piece != bytes(extent.length):
            found[extent.offset] = bytes(piece)
    return found


def make_files(device: BytesTarget, **files: bytes) -> None:
    """A new ext4 with these files, and nothing else."""
    device.discard(Extent(0, device.size))
    with block_device_of(device) as path:
        make_file_system(path, FileSystem("ext4", "", _UUID, device.size))
    write_files(device, **files)


def write_files(device: BytesTarget, **files: bytes) -> None:
    with block_device_of(device) as path, mounted_for_writing(path, "ext4") as root:
        for name, content in files.items():
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=root), "wb") as file:
                file.write(content)


def content_of(device: BytesTarget) -> dict[int, bytes] | dict[str, bytes]:
    """The files of an ext4 that can be mounted; of anything else the pages."""
    magic = bytearray(len(EXT4_MAGIC))
    device.read_into(_MAGIC_OFFSET, memoryview(magic))
    if magic != EXT4_MAGIC:
        return pages(device)
    try:
        with block_device_of(device.copy()) as path, mounted_for_reading(path, "ext4") as root:
            return {name: _read(root, name) for name in os.listdir(root) if name != "lost+found"}
    except FileSystemError:
        return pages(device)


def _read(root: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY, dir_fd=root), "rb") as file:
        return file.read()


def stored_files(store: BlobStore, snapshot: Snapshot) -> dict[str, bytes]:
    """What a snapshot of files holds."""
    trees, files = TreeCache(store), {}
    for found in list_directory(trees, find_path(trees, snapshot, "files")):
        if found.node.type == "file":
            pieces: list[bytes] = []
            dump_content(found.node, store, lambda data, into=pieces: into.append(bytes(data)))
            files[found.node.name] = b"".join(pieces)
    return files
