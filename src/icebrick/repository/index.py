"""Where every blob of the repository lies, in 48 bytes of memory a blob.

Blobs are kept in runs: arrays sorted by the first 8 bytes of the id. New blobs gather in a dictionary that becomes a
run when it is large; a run that is not much smaller than the one before it is merged with it, so there are only
logarithmically many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from icebrick.errors import CorruptDataError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.crypto import OVERHEAD
from icebrick.repository.ids import ID_SIZE, BlobType

_PENDING = 1 << 15
_HEAD = 8
_PLACE = np.dtype([("pack", "u4"), ("offset", "u4"), ("length", "u4"), ("uncompressed", "u4")])

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Places:
    """Where many blobs lie, in the order they were asked for: one record each."""

    records: Array

    @property
    def packs(self) -> Array:
        """Numbers for `pack_id`."""
        return self.records["pack"]

    @property
    def offsets(self) -> Array:
        """Of the sealed blobs in their packs, in bytes."""
        return self.records["offset"]

    @property
    def sizes(self) -> Array:
        """Of the plaintexts, in bytes (int64)."""
        uncompressed = self.records["uncompressed"].astype(np.int64)
        return np.where(uncompressed > 0, uncompressed, self.records["length"].astype(np.int64) - OVERHEAD)

    def blob(self, number: int, blob_id: bytes) -> PackedBlob:
        """The place of one data blob as a value."""
        _, offset, length, uncompressed = self.records[number].item()
        return PackedBlob(BlobType.DATA, blob_id, offset, length, uncompressed)


@dataclass(frozen=True, slots=True)
class _Run:
    heads: Array  # (n,) uint64, ascending: the first 8 bytes of each id as a big-endian number
    tails: Array  # (n, 24) uint8: the rest
    places: Array  # (n,) _PLACE

    @staticmethod
    def of(ids: bytes, places: Array) -> _Run:
        heads, tails = _split(ids)
        order = np.argsort(heads, kind="stable")
        return _Run(heads[order], tails[order], places[order])

    def merged(self, other: _Run) -> _Run:
        # column by column, so that of only one there are three copies at a time
        heads = np.concatenate((self.heads, other.heads))
        order = np.argsort(heads, kind="stable").astype(np.uint32)
        tails = np.concatenate((self.tails, other.tails))[order]
        places = np.concatenate((self.places, other.places))[order]
        return _Run(heads[order], tails, places)

    def search(self, heads: Array, tails: Array) -> tuple[Array, Array]:
        """For each id, whether it is here, and if so its position."""
        positions = np.searchsorted(self.heads, heads)
        found = np.zeros(len(heads), dtype=bool)
        open_questions = np.arange(len(heads))
        while len(open_questions):
            here = positions[open_questions]
            inside = here < len(self.heads)
            open_questions, here = open_questions[inside], here[inside]
            same_head = self.heads[here] == heads[open_questions]
            open_questions, here = open_questions[same_head], here[same_head]
            same = (self.tails[here] == tails[open_questions]).all(axis=1)
            found[open_questions[same]] = True
            open_questions = open_questions[~same]
            positions[open_questions] += 1
        return found, positions


def _split(ids: bytes) -> tuple[Array, Array]:
    raw = np.frombuffer(ids, dtype=np.uint8).reshape(-1, ID_SIZE)
    heads = np.ascontiguousarray(raw[:, :_HEAD]).view(">u8").ravel().astype("u8")
    return heads, np.ascontiguousarray(raw[:, _HEAD:])


class _Table:
    """The blobs of one type."""

    def __init__(self) -> None:
        self._pending: dict[bytes, tuple[int, int, int, int]] = {}
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return len(self._pending) + sum(len(run.heads) for run in self._runs)

    def add(self, blob: PackedBlob, pack: int) -> None:
        self._pending[blob.id] = (pack, blob.offset, blob.length, blob.uncompressed_length)
        if len(self._pending) >= _PENDING:
            self._freeze()

    def find(self, blob_id: bytes) -> tuple[int, int, int, int] | None:
        if (place := self._pending.get(blob_id)) is not None:
            return place
        found = self._search(blob_id)
        if found is None:
            return None
        pack, offset, length, uncompressed = found[0].places[found[1]].item()
        return pack, offset, length, uncompressed

    def has(self, blob_id: bytes) -> bool:
        return blob_id in self._pending or self._search(blob_id) is not None

    def _search(self, blob_id: bytes) -> tuple[_Run, int] | None:
        head, tail = int.from_bytes(blob_id[:_HEAD], "big"), blob_id[_HEAD:]
        for run in self._runs:
            position = int(run.heads.searchsorted(np.uint64(head)))  # the function of this name takes twice the time
            while position < len(run.heads) and run.heads[position] == head:
                if run.tails[position].tobytes() == tail:
                    return run, position
                position += 1
        return None

    def has_all(self, ids: bytes) -> bool:
        self._freeze()
        heads, tails = _split(ids)
        for run in self._runs:
            found, _ = run.search(heads, tails)
            heads, tails = heads[~found], tails[~found]
        return not len(heads)

    def places(self, ids: bytes) -> Array:
        self._freeze()
        heads, tails = _split(ids)
        places = np.zeros(len(heads), dtype=_PLACE)
        missing = np.ones(len(heads), dtype=bool)
        for run in self._runs:
            asked = np.flatnonzero(missing)
            found, positions = run.search(heads[asked], tails[asked])
            places[asked[found]] = run.places[positions[found]]
            missing[asked[found]] = False
        if missing.any():
            first = int(np.argmax(missing))
            lost = ids[first * ID_SIZE : (first + 1) * ID_SIZE].hex()
            raise CorruptDataError(f"{int(missing.sum())} blobs are in no index, the first is {lost}")
        return places

    def _freeze(self) -> None:
        if not self._pending:
            return
        places = np.array(list(self._pending.values()), dtype=_PLACE)
        self._runs.append(_Run.of(b"".join(self._pending), places))
        self._pending = {}
        while len(self._runs) > 1 and len(self._runs[-2].heads) < 2 * len(self._runs[-1].heads):
            last = self._runs.pop()
            self._runs[-1] = self._runs[-1].merged(last)


class Index:
    """All blobs of a repository. Not safe for several threads: the blob store holds a lock round it."""

    def __init__(self) -> None:
        self._packs: list[bytes] = []
        self._tables = {blob_type: _Table() for blob_type in BlobType}

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def packs(self) -> Iterator[bytes]:
        """The ids of all packs, as often as they were added."""
        return iter(self._packs)

    def add_pack(self, pack_id: bytes, blobs: Sequence[PackedBlob]) -> None:
        """Make the blobs of one pack known. A blob may be in several packs; any of them is found."""
        self._packs.append(pack_id)
        for blob in blobs:
            self._tables[blob.type].add(blob, len(self._packs) - 1)

    def find(self, blob_type: BlobType, blob_id: bytes) -> tuple[bytes, PackedBlob] | None:
        """The pack a blob lies in, and its place there."""
        place = self._tables[blob_type].find(blob_id)
        if place is None:
            return None
        pack, offset, length, uncompressed = place
        return self._packs[pack], PackedBlob(blob_type, blob_id, offset, length, uncompressed)

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is in some pack."""
        return self._tables[blob_type].has(blob_id)

    def has_all(self, blob_type: BlobType, ids: bytes) -> bool:
        """Whether each of these blobs (packed ids, 32 bytes each) is in some pack."""
        return self._tables[blob_type].has_all(ids)

    def places(self, ids: bytes) -> Places:
        """Of many data blobs at once (packed ids, 32 bytes each); CorruptDataError when one is in no index."""
        return Places(self._tables[BlobType.DATA].places(ids))

    def pack_id(self, number: int) -> bytes:
        """The id of a pack from its number in `places`."""
        return self._packs[number]
