"""Tables of a row for each block, of which only what is not zero takes memory: an empty volume's cost nothing."""

from __future__ import annotations

import mmap

ROWS_AT_ONCE = 1 << 13
"""Long tables are gone through in parts of so many rows: what is copied on the way stays small."""


def zero_rows(size: int) -> memoryview:
    """`size` bytes of zeros; the kernel gives them memory, page by page, when something else is written there."""
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if size else bytearray())
