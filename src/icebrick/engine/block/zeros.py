"""Zeros: recognised fast, and named without being read."""

from __future__ import annotations

from icebrick.blockdev import Data
from icebrick.repository.ids import digest

SPARSE_ZERO = 512 << 10
"""restic's `restore --sparse` looks for holes only in files that hold a blob of just so many zeros."""


class ZeroTest:
    """Tells whether data up to `limit` bytes is all zeros, at the speed of memcmp."""

    def __init__(self, limit: int) -> None:
        # a bytearray compares with any buffer by memcmp; a memoryview on the left would go byte by byte
        self._zeros = bytearray(limit)
        self._view = memoryview(self._zeros)

    def __call__(self, data: Data) -> bool:
        if len(data) == len(self._zeros):
            return self._zeros == data
        return bytes(self._view[: len(data)]) == data


def zero_id(size: int) -> bytes:
    """The id of a blob of `size` zeros."""
    return digest(bytes(size))
