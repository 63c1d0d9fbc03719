"""Many ids in order, in 32 bytes each, looked up many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from icebrick.repository.ids import ID_SIZE

_HEAD = 8
_MANY = 1 << 10

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class SortedIds:
    """Ids sorted by their first 8 bytes; the order of those that begin alike is the maker's."""

    heads: Array  # (n,) uint64, ascending: the first 8 bytes of each id as a big-endian number
    tails: Array  # (n, 24) uint8: the rest

    @staticmethod
    def of(ids: bytes) -> tuple[SortedIds, Array]:
        """Of packed ids, 32 bytes each, with the place that each one had there."""
        heads, tails = split(ids)
        order = np.argsort(heads, kind="stable")
        return SortedIds(heads[order], tails[order]), order

    def __len__(self) -> int:
        return len(self.heads)

    def position(self, blob_id: bytes) -> int | None:
        """Of the first one that equals this."""
        head, tail = int.from_bytes(blob_id[:_HEAD], "big"), blob_id[_HEAD:]
        position = int(self.heads.searchsorted(np.uint64(head)))  # the function of this name takes twice the time
        while position < len(self.heads) and self.heads[position] == head:
            if self.tails[position].tobytes() == tail:
                return position
            position += 1
        return None

    def positions(self, ids: bytes) -> Array:
        """Of the first that equals each of these (packed), -1 where there is none."""
        heads, tails = split(ids)
        if len(heads) < _MANY:
            found, positions = self.search(heads, tails)
            return np.where(found, positions, -1)
        order = np.argsort(heads)  # in order, neighbours are found in the same pages of memory
        found, positions = self.search(heads[order], tails[order])
        answer = np.empty(len(heads), dtype=np.int64)
        answer[order] = np.where(found, positions, -1)
        return answer

    def search(self, heads: Array, tails: Array) -> tuple[Array, Array]:
        """For each id, whether it is here, and if so its first position."""
        positions = np.searchsorted(self.heads, heads)
        found = np.zeros(len(heads), dtype=bool)
        open_questions = np.arange(len(heads))
        while len(open_questions):
            here = positions[open_questions]
            inside = here < len(self.heads)
            open_questions, here = open_questions[inside], here[inside]
            same_head = self.heads[here] == heads[open_questions]
            open_questions, here = open_questions[same_head], here[same_head]
            words = self.tails[here].view("u8") == tails[open_questions].view("u8")
            same = words[:, 0] & words[:, 1] & words[:, 2]  # in a fraction of the time of all(axis=1)
            found[open_questions[same]] = True
            open_questions = open_questions[~same]
            positions[open_questions] += 1
        return found, positions

    def ids(self, positions: Array) -> bytes:
        """The ids there, packed."""
        rows = np.empty((len(positions), ID_SIZE), dtype=np.uint8)
        rows[:, :_HEAD] = self.heads[positions].astype(">u8").view(np.uint8).reshape(-1, _HEAD)
        rows[:, _HEAD:] = self.tails[positions]
        return rows.tobytes()


def split(ids: bytes) -> tuple[Array, Array]:
    """The heads and the tails of packed ids."""
    raw = np.frombuffer(ids, dtype=np.uint8).reshape(-1, ID_SIZE)
    heads = np.ascontiguousarray(raw[:, :_HEAD]).view(">u8").ravel().astype("u8")
    return heads, np.ascontiguousarray(raw[:, _HEAD:])
