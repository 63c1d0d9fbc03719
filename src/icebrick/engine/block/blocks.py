"""How a volume is cut into blocks, and sets of blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icebrick.blockdev import Extent

BLOCK_SIZE = 1 << 20
"""Chosen by measurement: docs/design/decisions/0005-block-size.md."""

Range = tuple[int, int]
"""Of numbers: the first, and the one behind the last."""
Mask = npt.NDArray[np.bool_]
"""A set of numbers: true at those that are in it."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A volume of `size` bytes in blocks of `block_size`; the last one may be shorter."""

    size: int
    block_size: int = BLOCK_SIZE

    @property
    def count(self) -> int:
        return -(-self.size // self.block_size)

    def offset(self, number: int) -> int:
        """Of a block's first byte."""
        return number * self.block_size

    def length(self, number: int) -> int:
        """Of a block, in bytes."""
        return min(self.block_size, self.size - number * self.block_size)

    def bytes_in(self, blocks: Range) -> int:
        """The length of a range of blocks together."""
        return min(self.offset(blocks[1]), self.size) - min(self.offset(blocks[0]), self.size)

    def touched(self, extents: Iterable[Extent]) -> Mask:
        """The blocks of which the extents hold at least a byte."""
        mask = np.zeros(self.count, dtype=np.bool_)
        for extent in extents:
            mask[extent.offset // self.block_size : -(-extent.end // self.block_size)] = True
        return mask


def runs(mask: Mask) -> Iterator[Range]:
    """The set as ascending ranges that do not touch each other."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    for first, behind in zip(edges[::2], edges[1::2], strict=True):
        yield int(first), int(behind)


def stripes(mask: Mask, blocks: int) -> Iterator[Range]:
    """The runs in pieces of at most `blocks`, cut at multiples of it, so that neighbours share a pack."""
    for first, behind in runs(mask):
        cuts = [first, *range((first // blocks + 1) * blocks, behind, blocks), behind]
        yield from itertools.pairwise(cuts)
