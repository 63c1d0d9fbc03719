"""A folder of this host: holes cost nothing, other file systems stay out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from icebrick.engine.file import hosttree
from icebrick.engine.file.base import Directory
from icebrick.engine.file.hosttree import HostTree
from icebrick.errors import FileSystemError

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@pytest.fixture
def top(folder: Path) -> Iterator[Directory]:
    descriptor = os.open(folder, os.O_PATH)
    with closing(HostTree(descriptor).open_root()) as directory:
        yield directory
    os.close(descriptor)


def test_holes_are_known_without_being_read(folder: Path, top: Directory) -> None:
    with (folder / "sparse").open("wb") as file:
        file.truncate(10 * MIB)
        file.seek(4 * MIB)
        file.write(b"data" * (MIB // 4))
    with top.open_file("sparse") as content:
        assert content.hole() == 4 * MIB
        content.skip(4 * MIB)
        assert content.hole() == 0
        buffer = memoryview(bytearray(MIB))
        assert content.read_into(buffer) == MIB
        assert bytes(buffer[:4]) == b"data"
        assert content.hole() == 5 * MIB
        content.skip(5 * MIB)
        assert content.hole() == 0
        assert content.read_into(buffer) == 0


def test_bytes_of_names_and_targets_that_are_not_utf8_are_kept(folder: Path, top: Directory) -> None:
    os.symlink(b"to \xff", os.fsencode(folder) + b"/\xfe")
    (entry,) = top.list().entries
    assert os.fsencode(entry.name) == b"\xfe"
    assert os.fsencode(top.link_target(entry.name)) == b"to \xff"


def test_another_encoding_of_names_is_refused() -> None:
    code = (
        "import sys; from icebrick.errors import FileSystemError; from icebrick.engine.file.hosttree import HostTree\n"
        "sys.getfilesystemencoding = lambda: 'iso8859-1'\n"
        "try: HostTree(0)\n"
        "except FileSystemError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "iso8859-1" in said


def test_more_attributes_than_a_tree_should_hold_are_refused(
    folder: Path, top: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosttree, "MAX_ATTRIBUTES", 1000)  # ext4 could not store more than is really allowed
    (folder / "file").touch()
    os.setxattr(folder / "file", "user.one", bytes(900))
    assert len(top.attributes("file")) == 1
    os.setxattr(folder / "file", "user.two", bytes(100))
    with pytest.raises(FileSystemError, match="attributes"):
        top.attributes("file")


@pytest.mark.usefixtures("root")
def test_another_file_system_is_not_entered(folder: Path, top: Directory) -> None:
    (folder / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", folder / "mounted"], check=True)
    try:
        assert [entry.name for entry in top.list().entries] == ["mounted"]
        with pytest.raises(FileSystemError, match="another file system"):
            top.open_directory("mounted")
    finally:
        subprocess.run(["umount", folder / "mounted"], check=True)


@pytest.mark.usefixtures("root")
def test_subvolumes_are_entered_and_their_inodes_told_apart(tmp_path: Path) -> None:
    image, point = tmp_path / "image", tmp_path / "point"
    with image.open("wb") as file:
        file.truncate(256 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    point.mkdir()
    devices = []
    for _ in range(2):  # whatever number the device has
        subprocess.run(["mount", "-o", "loop", image, point], check=True)
        try:
            if not (point / "below").exists():
                subprocess.run(["btrfs", "-q", "subvolume", "create", point / "below"], check=True)
                (point / "below" / "file").touch()
            descriptor = os.open(point, os.O_PATH)
            with closing(HostTree(descriptor).open_root()) as above, closing(above.open_directory("below")) as below:
                devices += [entry.device for entry in (*above.list().entries, *below.list().entries)]
            os.close(descriptor)
        finally:
            subprocess.run(["umount", point], check=True)
    assert devices == [0, 256, 0, 256]
