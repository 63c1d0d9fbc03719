"""Bytes in memory, as a file to be read."""

from __future__ import annotations

import os

from icebrick.blockdev import Data


class ViewFile:
    """Reads without copying all of them first, as io.BytesIO would: packs are big, and several go out at once."""

    def __init__(self, data: Data) -> None:
        self._view = memoryview(data).cast("B")
        self._at = 0

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._view) if size is None or size < 0 else self._at + size
        part = bytes(self._view[self._at : end])
        self._at += len(part)
        return part

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at
