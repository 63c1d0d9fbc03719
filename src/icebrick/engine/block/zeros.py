"""Zeros: recognised fast, and named without being read."""

from __future__ import annotations

import functools

from icebrick.blockdev import Data
from icebrick.repository.ids import digest

SPARSE_ZERO = 512 << 10
"""restic's `restore --sparse` looks for holes only in files that hold a blob of just so many zeros."""
WIDE_BLOCKS = 8
"""So many blocks of zeros, at a multiple of as many, are one blob: what is empty needs little metadata."""


class ZeroTest:
    """Tells whether data up to `limit` bytes is all zeros, at the speed of memcmp and without a copy."""

    def __init__(self, limit: int) -> None:
        self._zeros = bytes(limit)

    def __call__(self, data: Data) -> bool:
        return self._zeros.startswith(data)


@functools.cache  # of few sizes, each of which takes milliseconds for each volume
def zero_id(size: int) -> bytes:
    """The id of a blob of `size` zeros."""
    return digest(bytes(size))
