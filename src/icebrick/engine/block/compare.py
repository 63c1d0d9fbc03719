"""Two images of a volume, block by block: by the ids of the blocks, so that nothing of them is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icebrick.blockdev import Extent
from icebrick.engine.block.blocks import Blocks, Mask, runs
from icebrick.engine.block.image import StoredImage, block_ids
from icebrick.engine.block.rows import ROWS_AT_ONCE
from icebrick.engine.block.zerolist import id_lines


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """`changed_blocks` of the `blocks` of the larger image are not the same in both; sizes in bytes."""

    block_size: int
    blocks: int
    changed_blocks: int
    ranges: tuple[Extent, ...]
    """Ascending, no two next to each other."""

    @property
    def changed_size(self) -> int:
        return sum(extent.length for extent in self.ranges)


def compare_images(older: StoredImage, newer: StoredImage) -> ImageDifference | None:
    """None when they are not made of blocks as ours are, or of blocks of different sizes."""
    if older.fingerprints is None or newer.fingerprints is None:
        return None
    old, new = older.fingerprints.blocks, newer.fingerprints.blocks
    old_ids, new_ids = block_ids(older), block_ids(newer)
    if old.block_size != new.block_size or old_ids is None or new_ids is None:
        return None
    larger = max(old, new, key=lambda blocks: blocks.size)
    mask = _changed(old_ids, new_ids, larger)
    common = min(old.count, new.count)
    if common and old.length(common - 1) != new.length(common - 1):
        mask[common - 1] = True
    ranges = tuple(Extent(larger.offset(first), larger.bytes_in((first, behind))) for first, behind in runs(mask))
    return ImageDifference(larger.block_size, larger.count, int(np.count_nonzero(mask)), ranges)


def _changed(old_ids: memoryview, new_ids: memoryview, larger: Blocks) -> Mask:
    """What only one of them has is changed, too."""
    old, new = id_lines(old_ids), id_lines(new_ids)
    mask = np.ones(larger.count, dtype=np.bool_)
    common = min(len(old), len(new))
    for start in range(0, common, ROWS_AT_ONCE):
        part = slice(start, min(start + ROWS_AT_ONCE, common))
        mask[part] = (old[part] != new[part]).any(axis=1)
    return mask
