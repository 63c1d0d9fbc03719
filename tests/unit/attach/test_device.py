"""Which devices and images are opened, which are refused, and what is left of an image that failed."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from icebrick.attach.device import (
    create_image,
    open_device_source,
    open_device_target,
    open_host_device,
    open_image,
)
from icebrick.blockdev import Extent
from icebrick.errors import AttachError, UsageError
from icebrick.testing.loopdevice import loop_device

SIZE = 1 << 20


@pytest.fixture
def exported(tmp_path: Path) -> str:
    """A volume that storage hands out as a plain file."""
    path = tmp_path / "volume-1"
    path.write_bytes(b"x" * SIZE)
    return str(path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "image.raw"


class BodyError(Exception):
    """What goes wrong inside a block."""


def test_a_file_is_no_device_unless_the_storage_is_one(exported: str) -> None:
    with pytest.raises(AttachError, match="not a block device"), open_device_source(exported, size=SIZE):
        pass


def test_a_file_is_opened_where_the_storage_is_one(exported: str) -> None:
    with open_device_source(exported, size=SIZE, is_file=True) as source:
        assert source.size == SIZE


def test_a_link_to_a_file_is_never_followed(exported: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(exported)
    with pytest.raises(AttachError, match="not a block device"), open_device_target(str(link), size=SIZE, is_file=True):
        pass


def test_a_device_that_is_not_there_is_an_error_with_its_path(tmp_path: Path) -> None:
    with (
        pytest.raises(AttachError, match="/missing: No such file"),
        open_device_source(str(tmp_path / "missing"), size=SIZE),
    ):
        pass


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(AttachError, match="not a block device"),
        open_device_source(str(tmp_path / "pipe"), size=SIZE, is_file=True),
    ):
        pass


def test_a_file_has_no_block_device_for_others_to_open(exported: str) -> None:
    with open_host_device(exported, size=SIZE, is_file=True) as device:
        assert device.block_path is None
        with device.open_source() as source:
            assert source.size == SIZE


def test_a_device_is_named_to_others_as_itself_and_not_by_a_link(root: None, image: Path, tmp_path: Path) -> None:
    image.write_bytes(b"x" * SIZE)
    with loop_device(image) as path:
        link = tmp_path / "link"
        link.symlink_to(path)
        with open_host_device(str(link), size=SIZE) as device:
            assert device.block_path == path


def test_a_device_that_is_too_small_is_refused(exported: str) -> None:
    with (
        pytest.raises(AttachError, match=f"has {SIZE} bytes where {SIZE + 1} were promised"),
        open_device_source(exported, size=SIZE + 1, is_file=True),
    ):
        pass


def test_a_device_that_was_rounded_up_is_read_whole(exported: str, caplog: pytest.LogCaptureFixture) -> None:
    with open_device_source(exported, size=SIZE - 1, is_file=True) as source:
        assert source.size == SIZE
    assert "larger than the volume" in caplog.text


def test_no_descriptor_stays_open(exported: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with open_device_source(exported, size=SIZE, is_file=True, direct=True):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_device_that_shrinks_while_it_is_read_is_an_error(exported: str) -> None:
    with open_device_source(exported, size=SIZE, is_file=True) as source:
        os.truncate(exported, 100)
        with pytest.raises(AttachError, match="ends at 100"):
            source.read_into(0, memoryview(bytearray(SIZE)))


def test_a_mounted_device_is_not_written(image: Path, root: None, tmp_path: Path) -> None:
    with mounted(image, tmp_path) as device:
        with pytest.raises(UsageError) as caught, create_image(device, SIZE):
            pass
        assert "in use" in str(caught.value.hint)


@pytest.mark.parametrize("direct", [False, True])
def test_a_device_of_an_odd_number_of_sectors_reads_to_its_last(root: None, image: Path, direct: bool) -> None:
    image.write_bytes(bytes(SIZE) + b"x" * 512)
    buffer = bytearray(512)
    with loop_device(image) as path, open_device_source(path, size=SIZE, direct=direct) as source:
        assert source.size == SIZE + 512
        source.read_into(SIZE, memoryview(buffer))
    assert buffer == b"x" * 512


def test_a_device_is_written_only_where_there_is_room(root: None, image: Path) -> None:
    image.write_bytes(bytes(SIZE))
    with loop_device(image) as path:
        with pytest.raises(UsageError, match="needs"), create_image(path, SIZE + 1):
            pass
        with create_image(path, SIZE - 512) as target:
            target.write(0, b"data")
    assert image.read_bytes()[:5] == b"data\0"


@pytest.mark.parametrize("name", ["missing", "."])
def test_an_image_that_is_not_there_or_no_file_is_an_error_of_usage(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError), open_image(tmp_path / name):
        pass


def test_a_users_image_may_be_a_link(exported: str, image: Path) -> None:
    image.symlink_to(exported)
    with open_image(image) as source:
        assert source.size == SIZE


def test_a_new_image_is_sparse_private_and_of_its_size(image: Path) -> None:
    with create_image(image, SIZE):
        pass
    made = image.stat()
    assert (made.st_size, made.st_blocks, stat.S_IMODE(made.st_mode)) == (SIZE, 0, 0o600)


def test_a_new_image_has_no_name_before_it_is_whole(image: Path) -> None:
    with create_image(image, SIZE) as target:
        target.write(0, b"data")
        assert not image.exists()
    assert image.read_bytes()[:5] == b"data\0"


def test_nothing_is_left_of_an_image_that_failed(image: Path, tmp_path: Path) -> None:
    with pytest.raises(BodyError), create_image(image, SIZE):
        raise BodyError
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_besides_a_new_image(image: Path, tmp_path: Path) -> None:
    with create_image(image, SIZE):
        pass
    assert os.listdir(tmp_path) == [image.name]


def test_an_existing_image_is_kept_unless_it_is_to_be_replaced(image: Path) -> None:
    image.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists already"), create_image(image, SIZE):
        pass
    assert image.read_bytes() == b"precious"


def test_an_image_that_appears_meanwhile_is_kept(image: Path) -> None:
    with pytest.raises(AttachError, match="File exists"), create_image(image, SIZE):
        image.write_bytes(b"precious")
    assert image.read_bytes() == b"precious"


def test_an_image_is_replaced_when_told_and_only_when_the_new_one_is_whole(image: Path) -> None:
    image.write_bytes(b"old")
    with create_image(image, SIZE, replace=True):
        assert image.read_bytes() == b"old"
    assert image.stat().st_size == SIZE


def test_the_old_image_stays_when_its_replacement_fails(image: Path) -> None:
    image.write_bytes(b"old")
    with pytest.raises(BodyError), create_image(image, SIZE, replace=True):
        raise BodyError
    assert image.read_bytes() == b"old"


def test_a_directory_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no regular file"), create_image(tmp_path, SIZE, replace=True):
        pass


def test_an_image_in_a_missing_directory_is_an_error_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot create"), create_image(tmp_path / "no" / "image.raw", SIZE):
        pass


def test_what_is_discarded_from_an_image_takes_no_room(image: Path) -> None:
    with create_image(image, SIZE) as target:
        target.write(0, b"x" * SIZE)
        target.flush()
        target.discard(Extent(0, SIZE))
    assert image.stat().st_blocks == 0


def test_a_full_file_system_is_an_error_with_its_reason(root: None, tmp_path: Path) -> None:
    with small_tmpfs(tmp_path) as directory:
        with (
            pytest.raises(AttachError, match="No space left"),
            create_image(directory / "image.raw", 8 * SIZE) as target,
        ):
            target.write(0, b"x" * 8 * SIZE)
        assert os.listdir(directory) == []


@contextmanager
def small_tmpfs(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@contextmanager
def mounted(image: Path, tmp_path: Path) -> Iterator[str]:
    """The loop device of a mounted file system."""
    with image.open("wb") as file:
        file.truncate(8 * SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    directory = tmp_path / "mounted"
    directory.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(directory)], check=True)
    try:
        yield subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", str(directory)], check=True, capture_output=True, text=True
        ).stdout.strip()
    finally:
        subprocess.run(["umount", str(directory)], check=True)
