"""Zeros in an image's list of blobs: many blocks are one blob, and one block is two, for restic's sake.

Inside, a list has one line a block, and zero for a block of zeros. As it is stored,

* the first block of zeros is a row of blobs of 512 KiB, restic's own unit (see `SPARSE_ZERO`);
* eight blocks of zeros at a multiple of eight are one blob, unless that first one is among them;
* every other block of zeros is a blob of its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from icebrick.blockdev import Data
from icebrick.engine.block.blocks import Blocks
from icebrick.engine.block.rows import ROWS_AT_ONCE, zero_rows
from icebrick.engine.block.zeros import SPARSE_ZERO, WIDE_BLOCKS, zero_id
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE, BlobType

ZERO_BLOCK = bytes(ID_SIZE)
"""Stands for a block of zeros in a list of block ids."""

Array = npt.NDArray[Any]


def id_lines(ids: Data) -> Array:
    """Packed ids as a table of one id a line, in four numbers each; shares the memory of `ids`."""
    return np.frombuffer(ids, dtype=np.uint64).reshape(-1, ID_SIZE // 8)


def lines_with(lines: Array, blob_id: bytes) -> Array:
    """Which lines are this id."""
    mask: Array = (lines == id_lines(blob_id)).all(axis=1)
    return mask


def widened(writer: BlobWriter, ids: Data, blocks: Blocks) -> bytes:
    """The list as it is stored, from one line a block; the blobs of zeros that it needs are saved."""
    lines = id_lines(ids)
    zeros = lines_with(lines, ZERO_BLOCK)
    names = [ZERO_BLOCK]
    named = np.zeros(blocks.count, dtype=np.uint8)  # which of the names a line gets; 0: it keeps its own
    repeats = np.ones(blocks.count, dtype=np.uint16)

    def name(which: int | Array, length: int) -> None:
        names.append(writer.save(BlobType.DATA, bytes(length)))
        named[which] = len(names) - 1

    last = blocks.count - 1
    if zeros.any() and zeros[last] and blocks.length(last) != blocks.block_size:
        name(last, blocks.length(last))
        zeros[last] = False
    if zeros.any():
        first = int(np.argmax(zeros))
        name(zeros, blocks.block_size)
        if parts := _sparse_parts(blocks):
            name(first, SPARSE_ZERO)
            repeats[first] = parts
            zeros[first] = False
        groups = zeros[: blocks.count // WIDE_BLOCKS * WIDE_BLOCKS].reshape(-1, WIDE_BLOCKS).all(axis=1)
        wide = np.flatnonzero(groups) * WIDE_BLOCKS
        if len(wide):
            name(wide, WIDE_BLOCKS * blocks.block_size)
            for following in range(1, WIDE_BLOCKS):
                repeats[wide + following] = 0
    return b"".join(_stored(lines, repeats, named, id_lines(b"".join(names))))


def _stored(lines: Array, repeats: Array, named: Array, names: Array) -> Iterator[bytes]:
    """The lines, those `named` replaced, each as often as `repeats` says; in parts."""
    for start in range(0, len(lines), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        rows, which = lines[part].copy(), named[part]
        rows[which > 0] = names[which[which > 0]]
        yield np.repeat(rows, repeats[part], axis=0).tobytes()


def narrowed(content: bytes, blocks: Blocks) -> memoryview | None:
    """One line a block again; None when it is a list of another number of blocks."""
    lines = id_lines(content)
    zeros = lines_with(lines, zero_id(WIDE_BLOCKS * blocks.block_size))
    counts = np.where(zeros, np.uint8(WIDE_BLOCKS), np.uint8(1))
    for length in {blocks.block_size, blocks.length(blocks.count - 1)}:
        zeros |= lines_with(lines, zero_id(length))
    parts = _sparse_parts(blocks)
    start = _find_id(content, zero_id(SPARSE_ZERO) * parts) // ID_SIZE if parts else -1
    if start >= 0:
        zeros[start : start + parts] = True
        counts[start + 1 : start + parts] = 0
    if counts.sum() != blocks.count:
        return None
    behind = np.cumsum(counts, dtype=np.int64)
    ids = zero_rows(blocks.count * ID_SIZE)
    table = np.frombuffer(ids, dtype=np.uint64).reshape(-1, ID_SIZE // 8)
    data = np.flatnonzero(~zeros)
    for first in range(0, len(data), ROWS_AT_ONCE):
        part = data[first : first + ROWS_AT_ONCE]
        table[behind[part] - 1] = lines[part]
    return ids


def _find_id(content: bytes, wanted: bytes) -> int:
    start = content.find(wanted)
    while start >= 0 and start % ID_SIZE:
        start = content.find(wanted, start + 1)
    return start


def _sparse_parts(blocks: Blocks) -> int:
    """How many of restic's units of zeros make a block; 0 when it is not made of several whole ones."""
    parts, rest = divmod(blocks.block_size, SPARSE_ZERO)
    return 0 if rest or parts < 2 else parts
