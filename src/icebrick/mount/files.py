"""A file of a snapshot, to be read anywhere."""

from __future__ import annotations

import numpy as np

from icebrick.blockdev import Data
from icebrick.errors import CorruptDataError
from icebrick.mount.blobs import Blobs
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.tree import Node


class OpenFile:
    """Methods may be called from any thread."""

    def __init__(self, node: Node, blobs: Blobs) -> None:
        """CorruptDataError when a blob is in no index, or they do not make as many bytes as the node says."""
        self._content, self._blobs = node.content, blobs
        self._ends = blobs.ends(node.content)
        self._size = int(self._ends[-1]) if len(self._ends) else 0
        if self._size != node.size:
            raise CorruptDataError(f"file {node.name!r} of {node.size} bytes has blobs of {self._size} bytes together")
        self._last = -1  # the piece read last, by whichever thread: only a hint

    def read(self, offset: int, length: int) -> bytes:
        """Less where the file ends; CorruptDataError, BackendError."""
        end = min(offset + length, self._size)
        if offset >= end:
            return b""
        first = int(np.searchsorted(self._ends, offset, side="right"))
        self._look_ahead(first)
        parts: list[Data] = []
        for piece in range(first, len(self._ends)):
            start = int(self._ends[piece - 1]) if piece else 0
            if start >= end:
                break
            parts.append(self._piece(piece, start)[max(offset - start, 0) : end - start])
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def _piece(self, piece: int, start: int) -> memoryview:
        data = self._blobs.data(self._id(piece))
        if len(data) != self._ends[piece] - start:
            raise CorruptDataError(f"blob {self._id(piece).hex()} has not as many bytes as the index says")
        return memoryview(data)

    def _look_ahead(self, piece: int) -> None:
        """Who reads one piece behind the other will want the next one, too."""
        if piece == self._last + 1 and piece + 1 < len(self._ends):
            self._blobs.soon(self._id(piece + 1))
        self._last = piece

    def _id(self, piece: int) -> bytes:
        return self._content[piece * ID_SIZE : (piece + 1) * ID_SIZE]
