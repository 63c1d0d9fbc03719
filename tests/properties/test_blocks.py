"""Sets of blocks against sets of numbers."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from icebrick.blockdev import Extent
from icebrick.engine.block.blocks import Blocks, Mask, runs, stripes

SIZES = st.integers(0, 200)
MASKS = st.lists(st.booleans(), max_size=80).map(lambda bits: np.array(bits, dtype=np.bool_))


@given(SIZES, st.integers(1, 30))
def test_blocks_cover_a_volume_without_gap_or_overlap(size: int, block: int) -> None:
    blocks = Blocks(size, block)
    covered = [
        byte
        for number in range(blocks.count)
        for byte in range(blocks.offset(number), blocks.offset(number) + blocks.length(number))
    ]
    assert covered == list(range(size))


@given(SIZES, st.integers(1, 30), st.data())
def test_a_range_has_the_length_of_its_blocks_together(size: int, block: int, data: st.DataObject) -> None:
    blocks = Blocks(size, block)
    first = data.draw(st.integers(0, blocks.count))
    behind = data.draw(st.integers(first, blocks.count))
    assert blocks.bytes_in((first, behind)) == sum(map(blocks.length, range(first, behind)))


@given(st.integers(1, 200), st.integers(1, 30), st.data())
def test_blocks_are_touched_when_an_extent_holds_one_of_their_bytes(size: int, block: int, data: st.DataObject) -> None:
    edges = st.integers(0, size)
    pairs = data.draw(st.lists(st.tuples(edges, edges).map(sorted).filter(lambda pair: pair[0] < pair[1]), max_size=4))
    extents = [Extent(start, end - start) for start, end in pairs]
    expected = {byte // block for extent in extents for byte in range(extent.offset, extent.end)}
    assert set(np.flatnonzero(Blocks(size, block).touched(extents)).tolist()) == expected


@given(MASKS)
def test_runs_are_the_set_in_ascending_ranges_with_gaps_between(mask: Mask) -> None:
    found = list(runs(mask))
    assert [number for run in found for number in range(*run)] == np.flatnonzero(mask).tolist()
    assert all(one[1] < other[0] for one, other in itertools.pairwise(found))


@given(MASKS, st.integers(1, 10))
def test_stripes_are_the_set_in_order_cut_at_multiples(mask: Mask, blocks: int) -> None:
    found = list(stripes(mask, blocks))
    assert [number for stripe in found for number in range(*stripe)] == np.flatnonzero(mask).tolist()
    assert all(first // blocks == (behind - 1) // blocks for first, behind in found)
    assert all(first < behind for first, behind in found)
