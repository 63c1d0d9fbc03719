"""An index file read as a whole instead of blob by blob: a quarter of the time, where there are tens of millions.

This works for the JSON that restic and we write, without a space in it. Whatever else is JSON too, `file` reads.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

import numpy as np

from icebrick.repository.crypto import OVERHEAD
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.index.sortedids import Array

_BEGIN = b'{"packs":['
_END = b"]}]}"
_HEAD = b'{"id":"'
_ID = slice(len(_HEAD), len(_HEAD) + 2 * ID_SIZE)
_PACK = b'","blobs":['
_DATA = b'","type":"data","offset":'
_TREE = b'","type":"tree","offset":'
_LENGTH = b',"length":'
_UNCOMPRESSED = b',"uncompressed_length":'
_NEXT_PACK = b"]},"
_WIDTH = _ID.stop + len(_DATA)
_DIGITS = 10  # the most that 32 bits take


@dataclass(frozen=True, slots=True)
class IndexColumns:
    """The packs (ids in order), and of each blob: its id (packed, 32 bytes each), its pack's number here, its place."""

    pack_ids: list[bytes]
    ids: bytes
    trees: Array
    packs: Array
    offsets: Array
    lengths: Array
    uncompressed: Array


class _OtherwiseWrittenError(Exception):
    """Perhaps an index file, but not as we and restic write it."""


def decode_columns(plain: bytes) -> IndexColumns | None:
    """None when it is written otherwise, or no index file at all."""
    if not plain.startswith(_BEGIN):
        return None
    try:
        return _Reader(plain).columns()
    except (_OtherwiseWrittenError, binascii.Error):
        return None


def _demand(condition: object) -> None:
    if not condition:
        raise _OtherwiseWrittenError


class _Reader:
    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._bytes = np.frombuffer(plain + bytes(2 * _WIDTH), dtype=np.uint8)  # so that none reaches over the end

    def columns(self) -> IndexColumns:
        starts = np.flatnonzero(self._bytes == ord("{"))[1:]
        _demand(len(starts) and starts[0] == len(_BEGIN))
        rows = self._rows(starts, _WIDTH)
        _demand(_same(rows[:, : _ID.start], _HEAD).all())
        packs = _same(rows[:, _ID.stop : _ID.stop + len(_PACK)], _PACK)
        trees = _same(rows[:, _ID.stop :], _TREE)
        _demand((packs | trees | _same(rows[:, _ID.stop :], _DATA)).all())
        blobs = ~packs
        offsets, ends = self._numbers(starts[blobs] + _WIDTH)
        lengths, ends = self._numbers(self._after(ends, _LENGTH))
        _demand((lengths >= OVERHEAD).all())
        uncompressed, ends = self._uncompressed(ends)
        all_ends = starts + _ID.stop + len(_PACK)
        all_ends[blobs] = ends
        self._check_between(starts, all_ends, packs)
        ids = binascii.unhexlify(rows[:, _ID].tobytes())
        split = np.frombuffer(ids, dtype=np.uint8).reshape(-1, ID_SIZE)
        return IndexColumns(
            pack_ids=[row.tobytes() for row in split[packs]],
            ids=split[blobs].tobytes(),
            trees=trees[blobs],
            packs=(np.cumsum(packs) - 1)[blobs].astype(np.uint32),
            offsets=offsets,
            lengths=lengths,
            uncompressed=uncompressed,
        )

    def _rows(self, starts: Array, width: int) -> Array:
        return np.lib.stride_tricks.sliding_window_view(self._bytes, width)[starts]

    def _after(self, starts: Array, text: bytes) -> Array:
        """Where it goes on behind this text, which must be there."""
        _demand(_same(self._rows(starts, len(text)), text).all())
        return starts + len(text)

    def _numbers(self, starts: Array) -> tuple[Array, Array]:
        """The numbers that begin there, and where each ends."""
        digits = self._rows(starts, _DIGITS + 1) - ord("0")
        count = np.argmax(digits > 9, axis=1)  # 0 too when all are digits
        _demand(((count > 0) & ((digits[:, 0] > 0) | (count == 1))).all())
        values = np.zeros(len(starts), dtype=np.int64)
        for place in range(int(count.max(initial=0))):
            values = np.where(place < count, values * 10 + digits[:, place], values)
        _demand((values < 1 << 32).all())
        return values.astype(np.uint32), starts + count

    def _uncompressed(self, starts: Array) -> tuple[Array, Array]:
        """Of blobs that have it; and the ends of all."""
        there = _same(self._rows(starts, len(_UNCOMPRESSED)), _UNCOMPRESSED)
        values = np.zeros(len(starts), dtype=np.uint32)
        ends = starts.copy()
        values[there], ends[there] = self._numbers(starts[there] + len(_UNCOMPRESSED))
        return values, self._after(ends, b"}")

    def _check_between(self, starts: Array, ends: Array, packs: Array) -> None:
        """From one object to the next there is what must be there, and nothing else."""
        to_pack = packs[1:]
        to_blob_from_blob = ~packs[:-1] & ~to_pack
        gaps = np.where(to_pack, len(_NEXT_PACK), np.where(to_blob_from_blob, 1, 0))
        _demand((starts[1:] - ends[:-1] == gaps).all())
        self._after(ends[:-1][to_pack], _NEXT_PACK)
        self._after(ends[:-1][to_blob_from_blob], b",")
        _demand(self._plain[int(ends[-1]) :].rstrip(b"\n") == _END)


def _same(rows: Array, text: bytes) -> Array:
    result: Array = (rows == np.frombuffer(text, dtype=np.uint8)).all(axis=1)
    return result
