"""Files, loop devices and memory, all through the contract of block devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from icebrick.attach.device import create_image, open_device_source, open_device_target, open_image
from icebrick.blockdev import BlockSource, BlockTarget, Extent
from icebrick.testing.blockdev_contract import HOLE, SIZE, BlockSourceContract, BlockTargetContract, sample
from icebrick.testing.bytesdevice import BytesSource, BytesTarget
from icebrick.testing.loopdevice import loop_device


@pytest.fixture
def content() -> bytes:
    return sample()


@pytest.fixture
def sparse_file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "volume.raw"
    with path.open("wb") as file:
        file.write(content[: HOLE.offset])
        file.seek(HOLE.end)
        file.write(content[HOLE.end :])
    return path


@pytest.fixture
def loop(root: None, sparse_file: Path) -> Iterator[str]:
    with loop_device(sparse_file) as path:
        yield path


@pytest.fixture
def empty_loop(root: None, tmp_path: Path) -> Iterator[str]:
    backing = tmp_path / "empty.raw"
    backing.touch()
    with backing.open("r+b") as file:
        file.truncate(SIZE)
    with loop_device(backing) as path:
        yield path


class TestBytesSource(BlockSourceContract):
    @pytest.fixture
    def source(self, content: bytes) -> BlockSource:
        return BytesSource(content)


class TestImageFile(BlockSourceContract):
    @pytest.fixture
    def source(self, sparse_file: Path) -> Iterator[BlockSource]:
        with open_image(sparse_file) as source:
            yield source

    def test_a_hole_is_in_no_extent(self, source: BlockSource) -> None:
        assert all(extent.end <= HOLE.offset or extent.offset >= HOLE.end for extent in source.extents())


class TestImageFileReadDirectly(BlockSourceContract):
    @pytest.fixture
    def source(self, sparse_file: Path) -> Iterator[BlockSource]:
        with open_image(sparse_file, direct=True) as source:
            yield source


class TestLoopDevice(BlockSourceContract):
    @pytest.fixture
    def source(self, loop: str) -> Iterator[BlockSource]:
        with open_device_source(loop, size=SIZE) as source:
            yield source

    def test_a_block_device_is_one_extent(self, source: BlockSource) -> None:
        assert list(source.extents()) == [Extent(0, SIZE)]


class TestLoopDeviceReadDirectly(BlockSourceContract):
    @pytest.fixture
    def source(self, loop: str) -> Iterator[BlockSource]:
        with open_device_source(loop, size=SIZE, direct=True) as source:
            yield source


class TestBytesTarget(BlockTargetContract):
    @pytest.fixture
    def target(self) -> BlockTarget:
        return BytesTarget(SIZE)


class TestNewImage(BlockTargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[BlockTarget]:
        with create_image(tmp_path / "new.raw", SIZE) as target:
            yield target


class TestLoopDeviceTarget(BlockTargetContract):
    @pytest.fixture
    def target(self, empty_loop: str) -> Iterator[BlockTarget]:
        with open_device_target(empty_loop, size=SIZE) as target:
            yield target
