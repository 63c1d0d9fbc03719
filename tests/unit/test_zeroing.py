"""Zeros come by the best way that a device offers, and always come."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from icebrick import zeroing
from icebrick.testing.loopdevice import loop_device

SIZE = 1 << 20
START, LENGTH = 1000, 100_000
"""In the middle of blocks at both ends."""


@pytest.fixture
def full_file(tmp_path: Path) -> Path:
    path = tmp_path / "volume.raw"
    path.write_bytes(b"\xaa" * SIZE)
    return path


@pytest.fixture
def file_fd(full_file: Path) -> Iterator[int]:
    fd = os.open(full_file, os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def loop_fd(root: None, full_file: Path) -> Iterator[int]:
    with loop_device(full_file) as device:
        fd = os.open(device, os.O_RDWR)
        yield fd
        os.close(fd)


@pytest.fixture
def no_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel whose file systems and devices make no holes."""

    def refuse(fd: int, mode: int, offset: int, length: int) -> int:
        ctypes.set_errno(errno.EOPNOTSUPP)
        return -1

    monkeypatch.setattr(zeroing, "_fallocate", lambda: refuse)


@pytest.fixture
def no_zero_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that does not know BLKZEROOUT."""

    def refuse(fd: int, request: int, argument: bytes) -> int:
        raise OSError(errno.ENOTTY, "not a device for that")

    monkeypatch.setattr(zeroing.fcntl, "ioctl", refuse)


def expect_zeros(fd: int) -> None:
    zeroing.zero_range(fd, START, LENGTH)
    assert os.pread(fd, SIZE, 0) == b"\xaa" * START + bytes(LENGTH) + b"\xaa" * (SIZE - START - LENGTH)


def test_a_file_gets_a_hole(file_fd: int) -> None:
    expect_zeros(file_fd)
    assert os.fstat(file_fd).st_blocks * 512 < SIZE


def test_a_file_without_holes_gets_zeros(file_fd: int, no_holes: None) -> None:
    expect_zeros(file_fd)


def test_a_device_gets_a_hole(loop_fd: int) -> None:
    expect_zeros(loop_fd)


def test_a_device_without_holes_writes_zeros_itself(loop_fd: int, no_holes: None) -> None:
    expect_zeros(loop_fd)


def test_a_device_that_knows_neither_gets_zeros(loop_fd: int, no_holes: None, no_zero_out: None) -> None:
    expect_zeros(loop_fd)


@pytest.mark.parametrize("length", [0, 1, 4096])
def test_a_range_within_a_block_of_a_device_gets_zeros(loop_fd: int, length: int) -> None:
    zeroing.zero_range(loop_fd, 4000, length)
    assert os.pread(loop_fd, 12_288, 0) == b"\xaa" * 4000 + bytes(length) + b"\xaa" * (8288 - length)


def test_long_ranges_are_done_in_steps(file_fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeroing, "_STEP", 4096)
    expect_zeros(file_fd)


def test_a_device_that_fails_is_an_error(tmp_path: Path, full_file: Path) -> None:
    fd = os.open(full_file, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            zeroing.zero_range(fd, START, LENGTH)
    finally:
        os.close(fd)
