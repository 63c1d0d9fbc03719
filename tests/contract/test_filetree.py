"""Readers of file systems, all held to what `FileTree` promises: this host's, the guest's program with and without a
virtual machine round it, and the fake."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from icebrick.engine.file.base import Directory, FileTree
from icebrick.engine.file.guesttree import mounted
from icebrick.engine.file.hosttree import HostTree
from icebrick.errors import FileSystemError
from icebrick.microvm.image import Image
from icebrick.microvm.machine import started
from icebrick.repository.tree import ExtendedAttribute
from icebrick.testing import faketree
from icebrick.testing.guests import serving

CONTENT = b"some bytes of a file"
ATTRIBUTE = ExtendedAttribute("user.colour", b"blue\0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    (folder / "folder" / "below").mkdir(parents=True)
    (folder / "file").write_bytes(CONTENT)
    os.setxattr(folder / "file", ATTRIBUTE.name, ATTRIBUTE.value)
    os.setxattr(folder / "folder", ATTRIBUTE.name, ATTRIBUTE.value)
    os.symlink("folder", folder / "link")
    os.mkfifo(folder / "fifo")
    return folder


@pytest.fixture
def on_host(folder: Path) -> Iterator[FileTree]:
    descriptor = os.open(folder, os.O_PATH)
    yield HostTree(descriptor)
    os.close(descriptor)


@pytest.fixture
def by_guest(folder: Path) -> Iterator[FileTree]:
    with serving(folder) as channel:
        yield mounted(channel, "ext4")


@pytest.fixture(scope="module")
def in_machine(folder: Path, boot_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileTree]:
    disk = tmp_path_factory.mktemp("disk") / "ext4"
    with disk.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", folder, disk], check=True)
    subprocess.run(["debugfs", "-w", "-R", "rmdir lost+found", disk], check=True, capture_output=True)
    with disk.open("rb") as file, started(boot_image, [file.fileno()]) as channel:
        yield mounted(channel, "ext4")


@pytest.fixture
def in_memory() -> FileTree:
    plain = faketree.file("file", CONTENT)
    folder = faketree.directory("folder", [faketree.directory("below")])
    plain.attributes = folder.attributes = (ATTRIBUTE,)
    link, fifo = faketree.file("link"), faketree.file("fifo")
    link.entry, link.target = link.entry._replace(mode=stat.S_IFLNK | 0o777), "folder"
    fifo.entry = fifo.entry._replace(mode=stat.S_IFIFO | 0o644)
    return faketree.FakeTree(plain, folder, link, fifo)


@pytest.fixture(params=["on_host", "by_guest", "in_machine", "in_memory"])
def top(request: pytest.FixtureRequest) -> Iterator[Directory]:
    tree: FileTree = request.getfixturevalue(request.param)
    with closing(tree.open_root()) as directory:
        yield directory


def test_the_root_has_no_name(top: Directory) -> None:
    assert top.entry.name == ""
    assert stat.S_ISDIR(top.entry.mode)


def test_a_listing_tells_all_entries_and_their_kinds(top: Directory) -> None:
    listing = top.list()
    kinds = {entry.name: stat.S_IFMT(entry.mode) for entry in listing.entries}
    assert kinds == {"file": stat.S_IFREG, "folder": stat.S_IFDIR, "link": stat.S_IFLNK, "fifo": stat.S_IFIFO}
    assert listing.problems == ()
    assert {entry.size for entry in listing.entries if entry.name == "file"} == {len(CONTENT)}


def test_a_file_is_read_in_pieces_to_its_end(top: Directory) -> None:
    buffer = memoryview(bytearray(8))
    pieces = []
    with top.open_file("file") as content:
        while length := content.read_into(buffer):
            pieces.append(bytes(buffer[:length]))
    assert b"".join(pieces) == CONTENT
    assert {len(piece) for piece in pieces[:-1]} == {8}


def test_what_is_skipped_is_not_read(top: Directory) -> None:
    buffer = memoryview(bytearray(100))
    with top.open_file("file") as content:
        content.skip(5)
        assert bytes(buffer[: content.read_into(buffer)]) == CONTENT[5:]


def test_attributes_are_those_of_the_entry_of_the_open_file_or_of_the_directory(top: Directory) -> None:
    assert top.attributes("file") == (ATTRIBUTE,)
    with top.open_file("file") as content:
        assert content.attributes() == (ATTRIBUTE,)
    with closing(top.open_directory("folder")) as folder:
        assert folder.attributes() == (ATTRIBUTE,)
    assert top.attributes("link") == ()


def test_a_directory_stays_open_when_the_one_above_is_closed(top: Directory) -> None:
    folder = top.open_directory("folder")
    with closing(folder.open_directory("below")) as below:
        folder.close()
        assert below.list().entries == []
        assert below.entry.name == "below"


def test_links_are_read_and_not_followed(top: Directory) -> None:
    assert top.link_target("link") == "folder"
    with pytest.raises(FileSystemError):
        top.open_directory("link")
    with pytest.raises(FileSystemError):
        top.open_file("link")


@pytest.mark.parametrize("name", ["folder", "fifo", "missing"])
def test_only_regular_files_are_opened_as_files(top: Directory, name: str) -> None:
    with pytest.raises(FileSystemError):
        top.open_file(name)


@pytest.mark.parametrize("name", ["file", "fifo", "missing"])
def test_only_directories_are_opened_as_directories(top: Directory, name: str) -> None:
    with pytest.raises(FileSystemError):
        top.open_directory(name)


def test_what_is_no_link_has_no_target(top: Directory) -> None:
    with pytest.raises(FileSystemError):
        top.link_target("file")
