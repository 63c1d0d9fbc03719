"""File systems are judged by their own checkers, as a server would find them after a power cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from icebrick.errors import FileSystemError
from icebrick.filesystem.base import TYPES, FileSystem
from icebrick.filesystem.check import FileSystemCheck, check_file_system
from icebrick.filesystem.make import make_file_system
from icebrick.filesystem.mount import mounted_for_writing
from icebrick.filesystem.programs import try_program
from icebrick.testing.loopdevice import loop_device

SIZE = 320 << 20

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(params=TYPES)
def file_system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(file_system: str, tmp_path: Path) -> Path:
    """In which files were made, and not all is where it belongs yet: the journal has it."""
    path, crashed = tmp_path / "image", tmp_path / "crashed"
    path.touch()
    os.truncate(path, SIZE)
    features = {"has_journal", "extent", "filetype"} if file_system == "ext4" else {"extref", "skinny-metadata"}
    make_file_system(str(path), FileSystem(file_system, "", str(uuid.uuid4()), SIZE, {}, frozenset(features)))
    with loop_device(path) as device, mounted_for_writing(device, file_system) as root:
        for number in range(50):
            with open(os.open(f"file {number}", os.O_WRONLY | os.O_CREAT, dir_fd=root), "wb") as file:
                file.write(b"x" * 5000)
                os.fsync(file.fileno())
        subprocess.run(["blockdev", "--flushbufs", device], check=True)
        shutil.copyfile(path, crashed)
    path.unlink()  # mkfs.btrfs gives no UUID a second time, and nobody shall find this one
    return crashed


@pytest.fixture
def device(image: Path) -> Iterator[str]:
    with loop_device(image) as path:
        yield path


def test_what_a_power_cut_leaves_is_clean(device: str, file_system: str) -> None:
    checked = check_file_system(device)
    assert (checked.type, checked.clean) == (file_system, True), checked.told


@pytest.mark.parametrize("file_system", ["ext4"], indirect=True)
def test_what_is_broken_is_not_clean(image: Path, file_system: str) -> None:
    # the journal first, which has the root directory, too
    subprocess.run(["/usr/sbin/e2fsck", "-y", "-E", "journal_only", image], check=False, capture_output=True)
    subprocess.run(["/usr/sbin/debugfs", "-w", "-R", "clri <2>", image], check=True, capture_output=True)
    with loop_device(image) as device:
        checked = check_file_system(device)
    assert checked.clean is False
    assert checked.told


def test_what_is_no_file_system_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(1 << 20))
    with loop_device(tmp_path / "image") as device:
        assert check_file_system(device) == FileSystemCheck(None, None, "the volume holds nothing that blkid knows")


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(FileSystemError, match="did not end within 0 seconds"):
        try_program(["sleep", "60"], seconds=0)


def test_of_what_a_program_prints_only_the_end_is_kept() -> None:
    ended = try_program(["blkid", "--no-such-option", "x" * 100_000], seconds=60)
    assert ended.code != 0
    assert 0 < len(ended.last_words) <= 4096
