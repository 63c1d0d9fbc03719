"""Small real file systems with something of everything, to be damaged. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from icebrick.filesystem.mount import mounted_for_writing
from icebrick.testing.loopdevice import loop_device

MIB = 1 << 20
FOLDER, NAME, OTHER, LINK = "path-of-16-bytes", "name-of-16-bytes", "twin-of-16-bytes", "link-of-16-bytes"
"""Of one length, so that one can become the other."""
SIZE = 41_993
"""Of one file: a number that is found again in its metadata."""
NOTE = b"user.note-of-the-file"
OUTSIDE = "../outside"
"""Where a symbolic link leads that a restore must not follow."""


@dataclass(frozen=True, slots=True)
class Base:
    """`type` is what it is mounted as. Most of it is zeros: `pieces` are what is not, by offset."""

    name: str
    type: str
    size: int
    pieces: dict[int, bytes]


_MADE = {
    "ext4": ("ext4", 4 * MIB, ("-b", "1024", "-O", "^metadata_csum", "-m", "0")),
    "ext4 with checksums": ("ext4", 4 * MIB, ("-m", "0")),
    "xfs": ("xfs", 320 * MIB, ("-m", "crc=0,finobt=0,rmapbt=0,reflink=0,bigtime=0,inobtcount=0", "-i", "sparse=0")),
    "xfs with checksums": ("xfs", 320 * MIB, ()),
    "btrfs": ("btrfs", 128 * MIB, ()),
    "vfat": ("vfat", 2 * MIB, ()),
    "ntfs": ("ntfs", 4 * MIB, ("-F", "-Q")),
}


def make_bases(folder: Path) -> list[Base]:
    return [_make(folder, name, *how) for name, how in _MADE.items()]


def _make(folder: Path, name: str, file_system: str, size: int, options: tuple[str, ...]) -> Base:
    image, plain = folder / name.replace(" ", "-"), folder / f"plain-{file_system}"
    image.touch()
    os.truncate(image, size)
    make = [f"mkfs.{file_system}", *([] if file_system == "vfat" else ["-q"]), *options]
    if name == "xfs":  # of a version that this host's kernel may not mount any more
        _plant(plain)
        os.symlink(OUTSIDE, plain / LINK)
        prototype = folder / "prototype"
        prototype.write_text("\n".join(["none", "0 0", "d--755 0 0", *_prototype(plain), "$", ""]))
        _run(*make, "-p", str(prototype), str(image))
    elif file_system == "vfat":
        _run(*make, str(image))
        _plant(plain)
        _run("mcopy", "-s", "-i", str(image), *map(str, sorted(plain.iterdir())), "::")
    else:
        _run(*make, str(image))
        with _mounted(image, file_system, folder) as root:
            _plant(root)
            _plant_links(root)
    pieces = dict(_pieces(image))
    image.unlink()
    return Base(name, file_system, size, pieces)


def _prototype(folder: Path) -> Iterator[str]:
    """As mkfs.xfs(8) describes it, without the end."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            yield f"{path.name} l--777 0 0 {os.readlink(path)}"
        elif path.is_dir():
            yield from (f"{path.name} d--755 0 0", *_prototype(path), "$")
        else:
            yield f"{path.name} ---644 0 0 {path}"


@contextmanager
def _mounted(image: Path, file_system: str, folder: Path) -> Iterator[Path]:
    if file_system == "ntfs":
        place = folder / "mounted"
        place.mkdir()
        _run("ntfs-3g", "-o", "streams_interface=xattr", str(image), str(place))
        try:
            yield place
        finally:
            _run("umount", str(place))
    else:
        with loop_device(image) as device, mounted_for_writing(device, file_system) as root:
            yield Path(f"/proc/self/fd/{root}")


def _plant(root: Path) -> None:
    (root / FOLDER).mkdir(parents=True)
    (root / FOLDER / NAME).write_bytes(b"a name")
    (root / FOLDER / "deep" / "deeper").mkdir(parents=True)
    (root / NAME).write_bytes(b"some text\n" * 200)
    (root / OTHER).write_bytes(b"another")
    (root / "sized").write_bytes(bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256))
    many = root / "many"
    many.mkdir()
    for number in range(24):
        (many / f"entry-number-{number}-with-a-long-name").write_bytes(b"%d" % number)


def _plant_links(root: Path) -> None:
    os.symlink(OUTSIDE, root / LINK)
    os.link(root / OTHER, root / FOLDER / "linked")
    os.setxattr(root / NAME, NOTE, b"x" * 100)
    with (root / "sparse").open("wb") as file:
        file.truncate(3 * MIB)
        file.seek(MIB)
        file.write(b"in the middle")


def _pieces(image: Path) -> Iterator[tuple[int, bytes]]:
    zeros = bytes(4096)
    with image.open("rb") as file:
        for offset in range(0, image.stat().st_size, 4096):
            piece = file.read(4096)
            if piece != zeros[: len(piece)]:
                yield offset, piece


def _run(*command: str) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin"
    subprocess.run(command, check=True, capture_output=True, env={"PATH": path, "MTOOLS_SKIP_CHECK": "1"})
