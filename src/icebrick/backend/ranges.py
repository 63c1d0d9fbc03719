"""What a range of a file means, the same for every medium that knows a file's size."""

from __future__ import annotations

from icebrick.backend.base import FileInfo
from icebrick.errors import ShortReadError


def range_length(info: FileInfo, offset: int, length: int | None) -> int:
    """How many bytes a load of this range gives; ShortReadError when the file does not have them all."""
    if offset < 0 or (length is not None and length < 0):
        raise ValueError(f"negative range of {info.handle}: offset {offset}, length {length}")
    end = max(info.size, offset) if length is None else offset + length
    if end > info.size:
        raise ShortReadError(f"{info.handle} has {info.size} bytes, not the {end} that were asked for")
    return end - offset


def range_header(offset: int, length: int | None) -> str | None:
    """HTTP's words for a range of at least a byte; None for one that is empty, which HTTP cannot ask for."""
    if offset < 0 or (length is not None and length < 0):
        raise ValueError(f"negative range: offset {offset}, length {length}")
    if length is None:
        return f"bytes={offset}-"
    return f"bytes={offset}-{offset + length - 1}" if length else None
