"""A file system is made again as it was, and what cannot be made is told before anything is lost."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from icebrick.errors import FileSystemError, UsageError
from icebrick.filesystem import programs
from icebrick.filesystem.base import FileSystem
from icebrick.filesystem.detect import detect
from icebrick.filesystem.make import make_file_system

SIZE = 320 << 20
UUID = "01234567-89ab-cdef-0123-456789abcdef"
EXT4 = FileSystem(
    "ext4",
    "twice \udcff",
    UUID,
    SIZE,
    {"block_size": 1024, "inode_size": 512, "inodes": 40_960, "errors": 2, "reserved_blocks": 3277},
    frozenset({"has_journal", "ext_attr", "dir_index", "filetype", "extent", "flex_bg", "sparse_super", "project"}),
)
XFS = FileSystem(
    "xfs",
    "--help",
    UUID,
    SIZE,
    {"block_size": 2048, "sector_size": 1024, "inode_size": 1024, "directory_block_size": 8192},
    frozenset({"finobt", "ftype", "reflink", "bigtime", "rmapbt", "sparse"}),
)
BTRFS = FileSystem(
    "btrfs",
    "größe",
    UUID,
    SIZE,
    {"sector_size": 4096, "node_size": 4096},
    frozenset({"mixed-bg", "extref", "skinny-metadata"}),
    "sha256",
)
MINIMAL = FileSystem("ext4", "", UUID, 0)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return sized(tmp_path / "image", SIZE)


def sized(path: Path, size: int) -> Path:
    path.touch()
    os.truncate(path, size)
    return path


@pytest.mark.parametrize("file_system", [EXT4, XFS, BTRFS], ids=lambda each: each.type)
def test_everything_is_as_it_was(file_system: FileSystem, image: Path) -> None:
    make_file_system(str(image), file_system)
    assert detect(str(image)) == file_system
    make_file_system(str(image), replace(file_system, label="again"))
    assert detect(str(image)) == replace(file_system, label="again")


@pytest.mark.parametrize("file_system", [EXT4, XFS, BTRFS], ids=lambda each: each.type)
def test_a_larger_device_is_used_to_its_end(file_system: FileSystem, tmp_path: Path) -> None:
    image = sized(tmp_path / "larger", SIZE * 2)
    make_file_system(str(image), file_system)
    made = detect(str(image))
    assert isinstance(made, FileSystem)
    assert (made.size, made.features, made.uuid) == (SIZE * 2, file_system.features, UUID)


def test_a_smaller_device_is_refused_before_anything_is_written(image: Path) -> None:
    make_file_system(str(image), EXT4)
    with pytest.raises(UsageError, match=f"has {SIZE} bytes, its file system needs {SIZE + 1}"):
        make_file_system(str(image), replace(XFS, size=SIZE + 1))
    assert detect(str(image)) == EXT4


def test_nothing_is_found_beside_it(image: Path) -> None:
    with image.open("r+b") as file:
        file.seek(65536 + 64)
        file.write(b"_BHRfS_M")
        file.seek(510)
        file.write(b"\x55\xaa")
    make_file_system(str(image), XFS)
    assert detect(str(image)) == XFS


def test_a_record_that_says_little_is_enough(image: Path) -> None:
    make_file_system(str(image), MINIMAL)
    made = detect(str(image))
    assert isinstance(made, FileSystem)
    assert (made.type, made.uuid) == ("ext4", UUID)


def test_a_missing_program_is_told_with_its_package(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wipefs").write_text("#!/bin/sh\n")
    (tmp_path / "wipefs").chmod(0o755)
    monkeypatch.setattr(programs, "_PATH", str(tmp_path))
    with pytest.raises(FileSystemError, match=r"mkfs\.xfs is not installed") as caught:
        make_file_system(str(image), XFS)
    assert caught.value.hint == "Debian has it in the package xfsprogs."


def test_what_mkfs_refuses_is_told_in_its_words(image: Path) -> None:
    with pytest.raises(FileSystemError, match=r"mkfs\.ext4 failed with code 1: .*invalid block size"):
        make_file_system(str(image), replace(EXT4, settings={"block_size": 77}))
