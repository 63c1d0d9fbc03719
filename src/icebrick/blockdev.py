"""How any device or image is seen: sizes and offsets in bytes, reads and writes from any thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

Data = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """The bytes from `offset` up to, not including, `end`."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


class BlockSource(Protocol):
    """Bytes at offsets. Every method may be called from several threads at once."""

    @property
    def size(self) -> int:
        """In bytes; does not change while it is open."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole of `buffer` from `offset`; the range lies inside the source, else ValueError.

        The caller owns the buffer. An error of the device is an AttachError.
        """

    def extents(self) -> Iterator[Extent]:
        """Ranges that may hold data, ascending, not overlapping; everything else reads as zeros."""


class BlockTarget(BlockSource, Protocol):
    """A source that can be written. Reads see completed writes."""

    def write(self, offset: int, data: Data) -> None:
        """Write all of `data` at `offset`; the range lies inside the target, else ValueError."""

    def discard(self, extent: Extent) -> None:
        """The range reads as zeros afterwards; storage is given back where that is possible."""

    def flush(self) -> None:
        """Everything written so far is durable on return."""


def check_range(size: int, offset: int, length: int) -> None:
    """ValueError unless the range lies inside a device of `size` bytes."""
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(f"{length} bytes at {offset} are not inside {size} bytes")
