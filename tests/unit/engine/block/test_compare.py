"""Which blocks of two images differ."""

from __future__ import annotations

import pytest

from icebrick.backend.memory import MemoryBackend
from icebrick.blockdev import Extent
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.blocks import BLOCK_SIZE
from icebrick.engine.block.compare import ImageDifference, compare_images
from icebrick.engine.block.image import StoredImage
from icebrick.testing.bytesdevice import BytesSource
from icebrick.testing.images import load_image, save_backup, small_repository

A, B, ZERO = (bytes([letter]) * BLOCK_SIZE for letter in b"ab\0")


def difference(older: bytes, newer: bytes) -> ImageDifference:
    repository = small_repository(MemoryBackend())
    images = [
        load_image(repository, save_backup(repository, BytesSource(data)).snapshot_id)[0] for data in (older, newer)
    ]
    found = compare_images(*images)
    assert found is not None
    assert found.block_size == BLOCK_SIZE
    return found


def blocks(first: int, count: int, rest: int = 0) -> Extent:
    return Extent(first * BLOCK_SIZE, count * BLOCK_SIZE + rest)


@pytest.mark.parametrize(
    ("older", "newer", "ranges"),
    [
        (A + B + A, A + B + A, ()),
        (A + B + A, A + A + A, (blocks(1, 1),)),
        (A + ZERO * 3 + B, B + ZERO * 3 + B, (blocks(0, 1),)),
        (A + ZERO * 9, ZERO * 8 + B + ZERO, (blocks(0, 1), blocks(8, 1))),
        (A, A + B + ZERO, (blocks(1, 2),)),
        (A + B + ZERO, A, (blocks(1, 2),)),
        (A + b"end", A + b"END", (blocks(1, 0, 3),)),
        (A + bytes(3), A + bytes(7), (blocks(1, 0, 7),)),
    ],
    ids=["equal", "one", "beside zeros", "wide zeros", "grown", "shrunk", "short end", "longer end of zeros"],
)
def test_the_ranges_that_differ_are_found(older: bytes, newer: bytes, ranges: tuple[Extent, ...]) -> None:
    found = difference(older, newer)
    assert found.ranges == ranges
    assert found.changed_size == sum(extent.length for extent in ranges)


def test_blocks_are_counted_in_the_larger_image() -> None:
    found = difference(A, B + A + ZERO)
    assert (found.blocks, found.changed_blocks) == (3, 3)


def test_images_of_other_blocks_cannot_be_compared() -> None:
    repository = small_repository(MemoryBackend())
    small = BlockOptions(block_size=BLOCK_SIZE // 4)
    one = load_image(repository, save_backup(repository, BytesSource(A)).snapshot_id)[0]
    other = load_image(repository, save_backup(repository, BytesSource(A), options=small).snapshot_id)[0]
    assert compare_images(one, other) is None
    assert compare_images(one, StoredImage(one.size, one.content)) is None
