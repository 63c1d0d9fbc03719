"""The images to measure with, made of what every machine has; built once and kept."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30
PAGE = 64 << 10
"""What a database writes at a time in the changed image."""
_SOURCES = ("/usr/lib/x86_64-linux-gnu", "/usr/bin", "/usr/share", "/usr/lib")


@dataclass(frozen=True, slots=True)
class Image:
    """One image; `second` is the same volume some time later. `data` is its content that is not zeros, in bytes."""

    name: str
    first: Path
    data: int
    second: Path | None = None


def build(directory: Path, large: Path, data: int, *, seed: int = 20240229) -> list[Image]:
    """All images, with about `data` bytes in the one of real files, the one of 20 GiB in `large`.

    Needs root, to mount the one with files.
    """
    for folder in (directory, large):
        folder.mkdir(parents=True, exist_ok=True)
    return [
        _real_files(directory, data, seed),
        _incompressible(directory, GIB),
        _nearly_empty(large, 20 * GIB, GIB // 4),
    ]


def sparse(directory: Path, size: int, data: int) -> Image:
    """A volume of `size` bytes with little in it, for the bound on memory."""
    path = directory / f"sparse-{size // GIB}g.img"
    if not path.exists():
        _write_patches(path, size, data, seed=size)
    return Image(path.stem, path, data)


def _real_files(directory: Path, data: int, seed: int) -> Image:
    first, second = directory / "files.img", directory / "files-later.img"
    if not second.exists():
        fresh = directory / "files.new"
        fresh.unlink(missing_ok=True)
        with fresh.open("wb") as file:
            file.truncate(data * 3 // 2)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", "-i", "8192", fresh], check=True)
        with _mounted(fresh) as root:
            _copy_files(root, data)
        fresh.replace(first)
        later = directory / "files-later.new"
        subprocess.run(["cp", "--sparse=always", first, later], check=True)
        with _mounted(later) as root:
            _change_files(root, data // 100, random.Random(seed))
        later.replace(second)
    return Image("files", first, _content(first), second)


@contextmanager
def _mounted(image: Path) -> Iterator[Path]:
    point = image.with_suffix(".mnt")
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)
        point.rmdir()


def _copy_files(root: Path, wanted: int) -> None:
    """Real files in the order a walk finds them, until there are `wanted` bytes."""
    copied = 0
    for source in _SOURCES:
        for folder, folders, names in os.walk(source):
            folders.sort()
            target = root / folder.lstrip("/")
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_symlink() or not path.is_file() or (target / name).exists():
                    continue
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target / name)
                copied += path.stat().st_size
                if copied >= wanted:
                    return


def _change_files(root: Path, wanted: int, rng: random.Random) -> None:
    """What an update does: files of some folders are written anew; and what a database does: pages in large files."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    other_bytes = bytes(rng.sample(range(256), 256))
    changed = 0
    while changed < wanted * 3 // 4:
        start = rng.randrange(len(files))
        for path in files[start : start + 20]:
            fresh = path.with_name(path.name + ".new")
            fresh.write_bytes(path.read_bytes().translate(other_bytes))
            shutil.copystat(path, fresh)
            fresh.replace(path)
            changed += path.stat().st_size
    large = [path for path in files if path.stat().st_size > 4 * MIB]
    while changed < wanted:
        with rng.choice(large).open("r+b") as file:
            file.seek(rng.randrange(4 * MIB // PAGE) * PAGE)
            file.write(rng.randbytes(PAGE))
        changed += PAGE


def _incompressible(directory: Path, size: int) -> Image:
    path = directory / "random.img"
    if not path.exists():
        rng = random.Random(1)
        with path.with_suffix(".new").open("wb") as file:
            for _ in range(size // MIB):
                file.write(rng.randbytes(MIB))
        path.with_suffix(".new").replace(path)
    return Image("random", path, size)


def _nearly_empty(directory: Path, size: int, data: int) -> Image:
    path = directory / "empty.img"
    if not path.exists():
        _write_patches(path, size, data, seed=2)
    return Image("empty", path, data)


def _write_patches(path: Path, size: int, data: int, seed: int) -> None:
    """Patches of 4 MiB of half random bytes, spread over the volume."""
    rng, fresh = random.Random(seed), path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.truncate(size)
        for number in range(data // (4 * MIB)):
            file.seek(size // (data // (4 * MIB)) * number // MIB * MIB)
            file.write(b"".join(rng.randbytes(2048) + bytes(rng.choices(b"icebrick", k=8)) * 256 for _ in range(1024)))
    fresh.replace(path)


def _content(path: Path) -> int:
    """The bytes of all blocks of 1 MiB that are not all zeros."""
    zeros, total = bytes(MIB), 0
    with path.open("rb") as file:
        while block := file.read(MIB):
            if block != zeros[: len(block)]:
                total += len(block)
    return total
