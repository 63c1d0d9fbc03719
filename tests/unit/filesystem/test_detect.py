"""What is on a device is told by its signatures alone; what cannot be backed up file by file is told why."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from icebrick.errors import FileSystemError
from icebrick.filesystem.base import FileSystem, Unsuitable
from icebrick.filesystem.detect import detect
from icebrick.filesystem.superblock import SUPERBLOCKS, read_superblock

SIZE = 320 << 20
"""XFS needs more than 300 MiB; the files are sparse."""
UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.touch()
    os.truncate(path, SIZE)
    return path


@pytest.fixture
def mkfs(require: Callable[[str, object, str], None], image: Path) -> Callable[..., Path]:
    def run(file_system: str, *arguments: str) -> Path:
        program = shutil.which(f"mkfs.{file_system}", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        require(f"mkfs.{file_system}", program, "not installed")
        subprocess.run([str(program), "-q", *arguments, image], check=True, capture_output=True)
        return image

    return run


def found(path: Path) -> FileSystem:
    file_system = detect(str(path))
    assert isinstance(file_system, FileSystem)
    return file_system


def reason(path: Path) -> str:
    file_system = detect(str(path))
    assert isinstance(file_system, Unsuitable)
    return file_system.reason


def poke(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("block_size", [1024, 4096])
def test_ext4_is_as_dumpe2fs_tells(block_size: int, mkfs: Callable[..., Path]) -> None:
    image = mkfs("ext4", "-b", str(block_size), "-L", "my label", "-U", UUID, "-m", "3", "-O", "quota,^64bit")
    lines = subprocess.run(["/usr/sbin/dumpe2fs", "-h", image], check=True, capture_output=True, text=True).stdout
    told = dict(line.split(":", 1) for line in lines.splitlines() if ":" in line)
    file_system = found(image)
    assert (file_system.type, file_system.label, file_system.uuid) == ("ext4", "my label", UUID)
    assert file_system.features == set(told["Filesystem features"].split())
    assert file_system.settings["block_size"] == int(told["Block size"]) == block_size
    assert file_system.settings["inode_size"] == int(told["Inode size"])
    assert file_system.settings["inodes"] == int(told["Inode count"])
    assert file_system.settings["reserved_blocks"] == int(told["Reserved block count"])
    assert file_system.size == block_size * int(told["Block count"]) == SIZE


def test_xfs_is_as_xfs_db_tells(mkfs: Callable[..., Path]) -> None:
    image = mkfs("xfs", "-L", "my label", "-m", f"uuid={UUID},rmapbt=1", "-i", "size=1024", "-n", "size=8192")
    told = subprocess.run(
        ["/usr/sbin/xfs_db", "-r", "-c", "info", image], capture_output=True, text=True, check=True
    ).stdout
    file_system = found(image)
    assert (file_system.type, file_system.label, file_system.uuid) == ("xfs", "my label", UUID)
    assert file_system.settings == {
        "block_size": 4096, "sector_size": 512, "inode_size": 1024, "directory_block_size": 8192
    }  # fmt: skip
    names = ("finobt", "rmapbt", "reflink", "inobtcount", "bigtime", "sparse", "nrext64", "ftype")
    assert file_system.features == {name for name in names if f"{name}=1" in told}
    assert file_system.size == SIZE


def test_btrfs_is_as_it_was_made(mkfs: Callable[..., Path]) -> None:
    image = mkfs("btrfs", "-L", "größe", "-U", UUID, "--csum", "blake2", "-n", "32768", "-O", "^no-holes")
    file_system = found(image)
    assert file_system == FileSystem(
        "btrfs",
        "größe",
        UUID,
        SIZE,
        {"sector_size": 4096, "node_size": 32768},
        frozenset({"extref", "skinny-metadata", "free-space-tree"}),
        "blake2",
    )


def test_a_label_may_be_any_bytes(mkfs: Callable[..., Path]) -> None:
    with mkfs("btrfs").open("rb") as file:
        file.seek(65536)
        data = bytearray(file.read(4096))
    data[299:319] = b"line\nnum_devices 9\xff\0"
    file_system = read_superblock("btrfs", bytes(data))
    assert isinstance(file_system, FileSystem)
    assert os.fsencode(file_system.label) == b"line\nnum_devices 9\xff"


PARTITIONS = struct.pack("<BBBBBBBBII", 0, 0, 0, 0, 0x83, 0, 0, 0, 2048, 4096).ljust(64, b"\0") + b"\x55\xaa"
LUKS = (b"LUKS\xba\xbe" + struct.pack(">H", 1)).ljust(168, b"\0") + UUID.encode()


def run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def put_two_signatures(image: Path) -> None:
    run("/usr/sbin/mkfs.ext4", image)
    with image.open("rb") as file:
        superblock = file.read(2048)[1024:]
    run("/usr/sbin/mkfs.btrfs", "-f", image)
    poke(image, 1024, superblock)


NOT_WHOLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing": (lambda image: None, "nothing that blkid knows"),
    "partition table": (lambda image: poke(image, 446, PARTITIONS), "a partition table (dos)"),
    "swap": (lambda image: run("/usr/sbin/mkswap", image), "no file system (swap)"),
    "encrypted": (lambda image: poke(image, 0, LUKS), "encrypted data (crypto_LUKS)"),
    "ext2": (
        lambda image: run("/usr/sbin/mkfs.ext4", "-t", "ext2", image),
        "a file system of type ext2, not of ext4, xfs, btrfs",
    ),
    "encrypted directories": (
        lambda image: run("/usr/sbin/mkfs.ext4", "-O", "encrypt", image),
        "an ext4 file system that may have encrypted directories",
    ),
    "several signatures": (put_two_signatures, "signatures of several things"),
}


@pytest.mark.parametrize("content", NOT_WHOLE)
def test_what_is_not_one_whole_known_file_system_is_told(content: str, image: Path) -> None:
    make, expected = NOT_WHOLE[content]
    make(image)
    assert reason(image) == expected


def test_a_file_system_that_was_cut_off_is_told(mkfs: Callable[..., Path]) -> None:
    image = mkfs("ext4")
    os.truncate(image, SIZE // 2)
    assert reason(image) == f"a file system (ext4) of {SIZE} bytes, of which only {SIZE // 2} are there"


def test_a_device_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileSystemError, match=r"cannot read .*: No such file"):
        detect(str(tmp_path / "none"))


MAGIC = {
    "ext4": (0x38, b"\x53\xef"),
    "xfs": (0, b"XFSB"),
    "btrfs": (64, b"_BHRfS_M"),
    "vfat": (11, b"\0\2"),
    "ntfs": (3, b"NTFS    \0\2"),
}


@pytest.mark.parametrize("file_system", SUPERBLOCKS)
def test_any_bytes_are_read_or_refused(file_system: str) -> None:
    generator = random.Random(1)
    magic = MAGIC[file_system]
    for _ in range(300):
        data = bytearray(generator.randbytes(SUPERBLOCKS[file_system][1]))
        data[magic[0] : magic[0] + len(magic[1])] = magic[1]
        try:
            told = read_superblock(file_system, bytes(data))
        except ValueError:
            continue
        assert isinstance(told, FileSystem | Unsuitable)
    with pytest.raises(ValueError, match="ends before"):
        read_superblock(file_system, b"short")
