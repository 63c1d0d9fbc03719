"""Zeros in an image's list of blobs: many blocks are one blob, and one block is two, for restic's sake.

Inside, a list has one line a block, and zero for a block of zeros. As it is stored,

* the first block of zeros is a row of blobs of 512 KiB, restic's own unit (see `SPARSE_ZERO`);
* eight blocks of zeros at a multiple of eight are one blob, unless that first one is among them;
* every other block of zeros is a blob of its length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from icebrick.engine.block.blocks import Blocks
from icebrick.engine.block.zeros import SPARSE_ZERO, WIDE_BLOCKS, zero_id
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE, BlobType

ZERO_BLOCK = bytes(ID_SIZE)
"""Stands for a block of zeros in a list of block ids."""

Array = npt.NDArray[Any]


def id_lines(ids: bytes | bytearray) -> Array:
    """Packed ids as a table of one id a line, in four numbers each; shares the memory of `ids`."""
    return np.frombuffer(ids, dtype=np.uint64).reshape(-1, ID_SIZE // 8)


def lines_with(lines: Array, blob_id: bytes) -> Array:
    """Which lines are this id."""
    mask: Array = (lines == id_lines(blob_id)).all(axis=1)
    return mask


def widened(writer: BlobWriter, ids: bytearray, blocks: Blocks) -> bytes:
    """The list as it is stored, from one line a block; the blobs of zeros that it needs are saved."""
    lines = id_lines(ids).copy()
    zeros = lines_with(lines, ZERO_BLOCK)
    if not zeros.any():
        return lines.tobytes()

    def save_zeros(length: int) -> Array:
        return id_lines(writer.save(BlobType.DATA, bytes(length)))

    last = blocks.count - 1
    if zeros[last] and blocks.length(last) != blocks.block_size:
        lines[last] = save_zeros(blocks.length(last))
        zeros[last] = False
        if not zeros.any():
            return lines.tobytes()
    first = int(np.argmax(zeros))
    lines[zeros] = save_zeros(blocks.block_size)
    repeats = np.ones(blocks.count, dtype=np.intp)
    if parts := _sparse_parts(blocks):
        zeros[first] = False
        lines[first] = save_zeros(SPARSE_ZERO)
        repeats[first] = parts
    groups = zeros[: blocks.count // WIDE_BLOCKS * WIDE_BLOCKS].reshape(-1, WIDE_BLOCKS).all(axis=1)
    wide = np.flatnonzero(groups) * WIDE_BLOCKS
    if len(wide):
        lines[wide] = save_zeros(WIDE_BLOCKS * blocks.block_size)
        for following in range(1, WIDE_BLOCKS):
            repeats[wide + following] = 0
    return np.repeat(lines, repeats, axis=0).tobytes()


def narrowed(content: bytes, blocks: Blocks) -> Array:
    """One line a block again; of a list that is not ours, some other number of lines."""
    lines = id_lines(_join_sparse_zero(content, blocks))
    wide = lines_with(lines, zero_id(WIDE_BLOCKS * blocks.block_size))
    lines = np.repeat(lines, np.where(wide, WIDE_BLOCKS, 1), axis=0)
    lines[np.repeat(wide, np.where(wide, WIDE_BLOCKS, 1))] = 0
    for length in {blocks.block_size, blocks.length(blocks.count - 1)}:
        lines[lines_with(lines, zero_id(length))] = 0
    return lines


def _join_sparse_zero(content: bytes, blocks: Blocks) -> bytes:
    run = zero_id(SPARSE_ZERO) * _sparse_parts(blocks)
    start = _find_id(content, run) if run else -1
    return content if start < 0 else content[:start] + ZERO_BLOCK + content[start + len(run) :]


def _find_id(content: bytes, wanted: bytes) -> int:
    start = content.find(wanted)
    while start >= 0 and start % ID_SIZE:
        start = content.find(wanted, start + 1)
    return start


def _sparse_parts(blocks: Blocks) -> int:
    """How many of restic's units of zeros make a block; 0 when it is not made of several whole ones."""
    parts, rest = divmod(blocks.block_size, SPARSE_ZERO)
    return 0 if rest or parts < 2 else parts
