"""What a virtual machine would do with the volume: partition it, make a file system, keep files and change them."""

from __future__ import annotations

import itertools
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.shell import CommandError, run_tool

_MIB = 1 << 20
_SECTOR = 512
_START = 1 * _MIB
_LINUX = 0x83
_SOURCES = ("/usr/lib/python3*", "/usr/share", "/usr/bin", "/usr/lib")
_FILES_OF_EACH_SOURCE = 750
_LARGEST_FILE = 8 * _MIB
_MOST_BYTES = 256 * _MIB


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume as its guest sees it: one partition, `start` bytes from the beginning, `size` bytes long."""

    device: Path
    start: int
    size: int


def disk_on(device: Path) -> Disk:
    """The device with the one partition that `partition` makes."""
    with device.open("rb") as file:
        return Disk(device, _START, file.seek(0, os.SEEK_END) - _START)


def partition(device: Path) -> Disk:
    """Write a partition table with one partition, and an ext4 into that."""
    disk = disk_on(device)
    with device.open("r+b", buffering=0) as file:
        file.write(_partition_table(disk))
    # All is written at once: a lazy ext4 would go on writing in the background while nobody uses it.
    options = f"offset={disk.start},lazy_itable_init=0,lazy_journal_init=0"
    run_tool("mkfs.ext4", "-q", "-F", "-L", "demo", "-E", options, str(device), f"{disk.size // 1024}k")
    return disk


def _partition_table(disk: Disk) -> bytes:
    """A master boot record: 446 bytes of code, four entries of 16 bytes, a signature."""
    no_cylinders = b"\xfe\xff\xff"
    entry = struct.pack("<B3sB3sII", 0, no_cylinders, _LINUX, no_cylinders, disk.start // _SECTOR, disk.size // _SECTOR)
    return entry.rjust(446 + 16, b"\0").ljust(_SECTOR - 2, b"\0") + b"\x55\xaa"


@contextmanager
def mounted(disk: Disk, folder: Path) -> Iterator[Path]:
    """The partition's file system in `folder`, until the block ends."""
    folder.mkdir(exist_ok=True)
    options = f"loop,offset={disk.start},sizelimit={disk.size},noatime"
    run_tool("mount", "-t", "ext4", "-o", options, str(disk.device), str(folder))
    try:
        yield folder
    finally:
        run_tool("umount", str(folder))


def fill(folder: Path) -> int:
    """Copy real files of this machine; their number."""
    room = _MOST_BYTES
    count = 0
    for path in _real_files():
        size = path.lstat().st_size
        if size > min(room, _LARGEST_FILE):
            continue
        target = folder / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)
        room -= size
        count += 1
    if not count:
        raise CommandError("this machine has no files below /usr to copy")
    settle(folder)
    return count


def _real_files() -> Iterator[Path]:
    seen: set[Path] = set()
    for pattern in _SOURCES:
        found = (
            Path(parent) / name
            for source in sorted(Path("/").glob(pattern.lstrip("/")))
            for parent, _, names in os.walk(source)
            for name in sorted(names)
        )
        new = [path for path in itertools.islice(found, 4 * _FILES_OF_EACH_SOURCE) if path not in seen]
        chosen = new[:_FILES_OF_EACH_SOURCE]
        seen.update(chosen)
        yield from chosen


def change(folder: Path) -> str:
    """Change, remove and add some files; what was done, in words."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    changed, removed = files[10::150], files[20::300]
    for path in changed:
        with path.open("ab") as file:
            file.write(b"one more line\n")
    for path in removed:
        path.unlink()
    (folder / "new").write_bytes(os.urandom(3 * _MIB))
    settle(folder)
    return f"{len(changed)} files changed, {len(removed)} removed, one of 3 MiB added"


def settle(folder: Path) -> None:
    """Let the guest write down what it still has in memory."""
    run_tool("sync", "--file-system", str(folder))
