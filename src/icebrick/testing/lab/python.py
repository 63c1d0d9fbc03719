"""This Python and its packages on a disk for guests: nothing is installed twice.

A guest sees the host's directories through hostfs, which is too slow for imports: ten seconds instead of one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from icebrick.testing.lab.image import locked, make_disk, remove

_ENVIRONMENTS = ("ICEBRICK_DEVCLOUD_VENV",)
_SYSTEM = (Path("/usr"), Path("/"))
"""Prefixes of Debian's own Python, which a guest has too."""
_UNNEEDED = ("site-packages", "test", "idlelib", "tkinter", "turtledemo", "lib2to3", "share", "config-*", "*.a")
"""Of the Python itself."""


def python_folders() -> list[Path]:
    """The environments this process runs in and uses, and the Python they stand on."""
    named = [os.environ[name] for name in _ENVIRONMENTS if name in os.environ]
    folders = {Path(name).absolute() for name in (sys.prefix, sys.base_prefix, *named)}
    return sorted(folders - set(_SYSTEM))


def python_environment() -> dict[str, str]:
    """Variables for programs in the guest that are to do as they would here."""
    kept = {name: os.environ[name] for name in _ENVIRONMENTS if name in os.environ}
    return {**kept, "PYTHONWARNINGS": "ignore"}


def pack(cache: Path, folders: Iterable[Path]) -> Path:
    """A disk with these folders at their paths, made if they have changed since; of older ones none stays."""
    packed = cache / "python"
    packed.mkdir(parents=True, exist_ok=True)
    folders = tuple(folders)
    disk = packed / f"{_key(folders)}.img"
    with locked(packed):
        if not disk.exists():
            for old in packed.glob("*.img"):
                old.unlink()  # guests that have it open keep it
            _pack(folders, disk)
    return disk


def _key(folders: Iterable[Path]) -> str:
    """Installing something changes the times of directories."""
    found = hashlib.sha256(sys.version.encode())
    for folder in folders:
        for directory in (folder, *sorted(folder.glob("lib/python*/site-packages"))):
            found.update(f"{directory} {directory.stat().st_mtime_ns}".encode())
    return found.hexdigest()[:16]


def _pack(folders: Iterable[Path], disk: Path) -> None:
    tree = disk.with_suffix(".tree")
    part = disk.with_suffix(".part")
    remove(tree)
    try:
        for folder in folders:
            unneeded = shutil.ignore_patterns(*_UNNEEDED) if folder == Path(sys.base_prefix) else None
            inside = tree / folder.relative_to("/")
            shutil.copytree(folder, inside, symlinks=True, ignore=unneeded, copy_function=_link)
        size = sum(path.lstat().st_size + 4096 for path in tree.rglob("*"))
        make_disk(part, (size >> 20) * 5 // 4 + 64, "-O", "^has_journal", "-d", str(tree))
    finally:
        remove(tree)
    part.rename(disk)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copy2(source, target)
