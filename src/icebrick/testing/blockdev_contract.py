"""What every BlockSource and BlockTarget must do, as pytest suites to inherit."""

from __future__ import annotations

import itertools
import random

import pytest

from icebrick.blockdev import BlockSource, BlockTarget, Extent
from icebrick.parallel import Workers

SIZE = 3 << 20
HOLE = Extent(1 << 20, 1 << 20)


def sample() -> bytes:
    """`SIZE` bytes of which no two pages are equal, but for `HOLE` where they are zeros."""
    noise = bytearray(random.Random(SIZE).randbytes(SIZE))  # noqa: S311 - to be repeatable, not secret
    noise[HOLE.offset : HOLE.end] = bytes(HOLE.length)
    return bytes(noise)


def read(source: BlockSource, offset: int, length: int) -> bytes:
    """Into a buffer of just that length."""
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    return bytes(buffer)


class BlockSourceContract:
    """Fixtures: `content`, the bytes as made by `sample`; `source`, a source of them."""

    def test_the_size_is_that_of_the_content(self, source: BlockSource, content: bytes) -> None:
        assert source.size == len(content)

    def test_all_of_it_reads_as_it_is(self, source: BlockSource, content: bytes) -> None:
        assert read(source, 0, len(content)) == content

    @pytest.mark.parametrize(
        ("offset", "length"),
        [
            (0, 1),
            (4095, 2),
            (4096, 4096),
            (511, 513),
            (1, 70_001),
            ((1 << 20) - 7, 14),
            (SIZE - 1, 1),
            (SIZE - 5000, 5000),
        ],
    )
    def test_any_range_reads_as_it_is(self, source: BlockSource, content: bytes, offset: int, length: int) -> None:
        assert read(source, offset, length) == content[offset : offset + length]

    def test_a_read_fills_no_more_than_its_buffer(self, source: BlockSource, content: bytes) -> None:
        around = bytearray(b"<" * 300)
        source.read_into(5000, memoryview(around)[100:200])
        assert around == b"<" * 100 + content[5000:5100] + b"<" * 100

    def test_an_empty_read_is_fine_everywhere(self, source: BlockSource) -> None:
        assert read(source, 0, 0) == read(source, source.size, 0) == b""

    @pytest.mark.parametrize(("offset", "length"), [(-1, 1), (SIZE, 1), (SIZE - 1, 2), (SIZE + 1, 0)])
    def test_a_read_that_is_not_inside_is_refused(self, source: BlockSource, offset: int, length: int) -> None:
        with pytest.raises(ValueError, match=str(SIZE)):
            read(source, offset, length)

    def test_extents_ascend_and_do_not_overlap(self, source: BlockSource) -> None:
        found = list(source.extents())
        assert all(extent.length > 0 for extent in found)
        assert all(before.end <= after.offset for before, after in itertools.pairwise(found))
        assert not found or found[-1].end <= source.size

    def test_what_is_in_no_extent_is_zeros(self, source: BlockSource, content: bytes) -> None:
        rest = bytearray(content)
        for extent in source.extents():
            rest[extent.offset : extent.end] = bytes(extent.length)
        assert not any(rest)

    def test_extents_may_be_asked_for_twice_at_once(self, source: BlockSource) -> None:
        pairs = list(zip(source.extents(), source.extents(), strict=True))
        assert all(one == other for one, other in pairs)

    def test_threads_read_at_once(self, source: BlockSource, content: bytes) -> None:
        wrong: list[int] = []

        def compare(offset: int) -> None:
            if read(source, offset, 10_000) != content[offset : offset + 10_000]:
                wrong.append(offset)

        with Workers(compare, threads=4) as workers:
            for offset in range(0, SIZE - 10_000, 33_333):
                workers.put(offset)
        assert wrong == []


class BlockTargetContract:
    """Fixture: `target`, of `SIZE` bytes, all zeros."""

    def test_a_new_target_reads_as_zeros(self, target: BlockTarget) -> None:
        assert read(target, 0, SIZE) == bytes(SIZE)

    @pytest.mark.parametrize("offset", [0, 1, 4095, 4096, SIZE - 10_000])
    def test_what_is_written_is_read_and_the_rest_untouched(self, target: BlockTarget, offset: int) -> None:
        data = sample()[:10_000]
        target.write(offset, data)
        assert read(target, 0, SIZE) == bytes(offset) + data + bytes(SIZE - offset - len(data))

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_may_be_written(self, target: BlockTarget, kind: type) -> None:
        target.write(7, kind(b"data"))
        assert read(target, 7, 4) == b"data"

    def test_writing_nothing_is_fine(self, target: BlockTarget) -> None:
        target.write(SIZE, b"")
        assert read(target, 0, SIZE) == bytes(SIZE)

    @pytest.mark.parametrize("offset", [-1, SIZE - 3, SIZE])
    def test_a_write_that_is_not_inside_is_refused_whole(self, target: BlockTarget, offset: int) -> None:
        with pytest.raises(ValueError, match=str(SIZE)):
            target.write(offset, b"data")
        assert read(target, 0, SIZE) == bytes(SIZE)

    @pytest.mark.parametrize(
        "extent",
        [Extent(0, SIZE), Extent(4096, 4096), Extent(1, 1), Extent(4000, 200), Extent(1000, 100_000), Extent(5, 0)],
        ids=lambda extent: f"{extent.offset}+{extent.length}",
    )
    def test_what_is_discarded_reads_as_zeros_and_the_rest_is_untouched(
        self, target: BlockTarget, extent: Extent
    ) -> None:
        expected = bytearray(b"\xaa" * SIZE)
        target.write(0, bytes(expected))
        target.discard(extent)
        expected[extent.offset : extent.end] = bytes(extent.length)
        assert read(target, 0, SIZE) == expected

    def test_what_is_discarded_before_a_flush_stays_discarded(self, target: BlockTarget) -> None:
        target.write(0, b"\xaa" * SIZE)
        target.flush()
        target.discard(HOLE)
        target.flush()
        assert read(target, HOLE.offset, HOLE.length) == bytes(HOLE.length)

    def test_a_discard_that_is_not_inside_is_refused(self, target: BlockTarget) -> None:
        with pytest.raises(ValueError, match=str(SIZE)):
            target.discard(Extent(SIZE - 1, 2))

    def test_a_target_is_a_source_of_what_was_written(self, target: BlockTarget) -> None:
        target.write(HOLE.end, b"data")
        assert any(extent.offset <= HOLE.end < extent.end for extent in target.extents())

    def test_threads_write_at_once(self, target: BlockTarget) -> None:
        expected = sample()
        step = 33_333

        def copy(offset: int) -> None:
            target.write(offset, expected[offset : offset + step])

        with Workers(copy, threads=4) as workers:
            for offset in range(0, SIZE, step):
                workers.put(offset)
        assert read(target, 0, SIZE) == expected
