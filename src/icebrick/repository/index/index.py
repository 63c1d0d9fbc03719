"""Where every blob of the repository lies, in 48 bytes of memory a blob.

Blobs are kept in runs: arrays sorted by the first 8 bytes of the id. New blobs gather in a dictionary that becomes a
run when it is large; a run that is not much smaller than the one before it is merged with it, so there are only
logarithmically many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from icebrick.errors import CorruptDataError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.crypto import OVERHEAD
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.index.columns import IndexColumns
from icebrick.repository.index.sortedids import Array, SortedIds, split

_PENDING = 1 << 15
_MANY = 1 << 11
_PLACE = np.dtype([("pack", "u4"), ("offset", "u4"), ("length", "u4"), ("uncompressed", "u4")])

Place = tuple[int, int, int, int]


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
    ids: SortedIds
    places: Array  # (n,) _PLACE

    @staticmethod
    def of(ids: bytes, places: Array) -> _Run:
        in_order, order = SortedIds.of(ids)
        return _Run(in_order, places[order])

    @staticmethod
    def merge_last(runs: list[_Run]) -> None:
        """The last two become one, column by column, so that of just one there are two copies at a time."""
        first, second = runs[-2:]
        del runs[-2:]
        heads, tails, places = (
            [first.ids.heads, second.ids.heads],
            [first.ids.tails, second.ids.tails],
            [first.places, second.places],
        )
        size = len(first.ids)
        del first, second
        of_first = np.argsort(np.concatenate(heads), kind="stable") < size
        ids = SortedIds(_interleaved(heads, of_first), _interleaved(tails, of_first))
        runs.append(_Run(ids, _interleaved(places, of_first)))


def _interleaved(parts: list[Array], of_first: Array) -> Array:
    """Two parts, each in its order; they are taken out of the list."""
    together = np.empty((len(of_first), *parts[0].shape[1:]), dtype=parts[0].dtype)
    lines = _lines(together)
    lines[of_first] = _lines(parts.pop(0))
    lines[~of_first] = _lines(parts.pop())
    return together


def _lines(column: Array) -> Array:
    """The same memory, each entry as one opaque value: so numpy moves it in an eighth of the time."""
    return column.view(np.dtype((np.void, column.itemsize * math.prod(column.shape[1:])))).reshape(-1)


@dataclass(frozen=True, slots=True)
class Entries:
    """All that the index says of the blobs of one type, sorted by id; copies of a blob lie side by side.

    `first` is false for an entry whose id is that of the one before.
    """

    ids: SortedIds
    records: Array
    """See `Places`; the number of a pack is the same wherever an index file names it."""
    first: Array

    def __len__(self) -> int:
        return len(self.records)

    def blob(self, number: int, blob_type: BlobType) -> PackedBlob:
        """One entry as a value."""
        _, offset, length, uncompressed = self.records[number].item()
        return PackedBlob(blob_type, self.ids.ids(np.array([number])), offset, length, uncompressed)

    def copies(self, number: int) -> slice:
        """All entries of the blob of this one."""
        first, start, stop = self.first, number, number + 1
        while not first[start]:
            start -= 1
        while stop < len(first) and not first[stop]:
            stop += 1
        return slice(start, stop)

    def copies_of(self, blob_id: bytes) -> slice:
        """All entries of this blob, perhaps none."""
        number = self.ids.position(blob_id)
        return slice(0, 0) if number is None else self.copies(number)


class _Table:
    """The blobs of one type."""

    def __init__(self) -> None:
        self._pending: dict[bytes, Place] = {}
        self._again: list[tuple[bytes, Place]] = []  # pending too, of blobs that the dictionary has
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return len(self._pending) + len(self._again) + sum(len(run.ids) for run in self._runs)

    def add(self, blob: PackedBlob, pack: int) -> None:
        self._add(blob.id, (pack, blob.offset, blob.length, blob.uncompressed_length))

    def _add(self, blob_id: bytes, place: Place) -> None:
        if blob_id in self._pending:
            self._again.append((blob_id, place))
        else:
            self._pending[blob_id] = place
        if len(self._pending) + len(self._again) >= _PENDING:
            self._freeze()

    def add_many(self, ids: bytes, places: Array) -> None:
        if len(places) >= _MANY:
            self._runs.append(_Run.of(ids, places))
            self._balance()
            return
        for number, place in enumerate(places.tolist()):
            self._add(ids[number * ID_SIZE : (number + 1) * ID_SIZE], place)

    def find(self, blob_id: bytes) -> Place | None:
        if (place := self._pending.get(blob_id)) is not None:
            return place
        for run in self._runs:
            if (position := run.ids.position(blob_id)) is not None:
                pack, offset, length, uncompressed = run.places[position].item()
                return pack, offset, length, uncompressed
        return None

    def has(self, blob_id: bytes) -> bool:
        return blob_id in self._pending or any(run.ids.position(blob_id) is not None for run in self._runs)

    def has_all(self, ids: bytes) -> bool:
        self._freeze()
        heads, tails = split(ids)
        for run in self._runs:
            found, _ = run.ids.search(heads, tails)
            heads, tails = heads[~found], tails[~found]
        return not len(heads)

    def places(self, ids: bytes) -> Array:
        self._freeze()
        heads, tails = split(ids)
        places = np.zeros(len(heads), dtype=_PLACE)
        missing = np.ones(len(heads), dtype=bool)
        for run in self._runs:
            asked = np.flatnonzero(missing)
            found, positions = run.ids.search(heads[asked], tails[asked])
            places[asked[found]] = run.places[positions[found]]
            missing[asked[found]] = False
        if missing.any():
            first = int(np.argmax(missing))
            lost = ids[first * ID_SIZE : (first + 1) * ID_SIZE].hex()
            raise CorruptDataError(f"{int(missing.sum())} blobs are in no index, the first is {lost}")
        return places

    def entries(self, canonical: Array) -> Entries:
        self._freeze()
        while len(self._runs) > 1:
            _Run.merge_last(self._runs)
        run = self._runs.pop() if self._runs else _Run.of(b"", np.zeros(0, dtype=_PLACE))
        run.places["pack"] = canonical[run.places["pack"]]
        run, first = _in_full_order(run)
        self._runs = [run]
        return Entries(run.ids, run.places, first)

    def _freeze(self) -> None:
        if not self._pending:
            return
        ids = b"".join((*self._pending, *(blob_id for blob_id, _ in self._again)))
        places = np.array([*self._pending.values(), *(place for _, place in self._again)], dtype=_PLACE)
        self._runs.append(_Run.of(ids, places))
        self._pending, self._again = {}, []
        self._balance()

    def _balance(self) -> None:
        """Each run is at least twice as long as the next."""
        while len(self._runs) > 1 and len(self._runs[-2].ids) < 2 * len(self._runs[-1].ids):
            _Run.merge_last(self._runs)


def _in_full_order(run: _Run) -> tuple[_Run, Array]:
    """By the whole id, then by pack and offset; without what several index files say alike. And `Entries.first`."""
    heads, tails, places = run.ids.heads, run.ids.tails, run.places
    first = np.ones(len(heads), dtype=bool)
    equal = heads[1:] == heads[:-1]
    if not equal.any():
        return run, first
    rows = np.flatnonzero(np.append(equal, False) | np.insert(equal, 0, False))  # those that begin like a neighbour
    words = np.ascontiguousarray(tails[rows]).view(">u8")
    some = places[rows]
    order = np.lexsort((some["offset"], some["pack"], words[:, 2], words[:, 1], words[:, 0], heads[rows]))
    words, some = words[order], some[order]
    tails[rows], places[rows] = tails[rows][order], some
    as_before = (heads[rows][1:] == heads[rows][:-1]) & (words[1:] == words[:-1]).all(axis=1)
    first[rows[1:][as_before]] = False
    said_before = rows[1:][as_before & (some[1:] == some[:-1])]
    if not len(said_before):
        return run, first
    kept = np.ones(len(heads), dtype=bool)
    kept[said_before] = False
    return _Run(SortedIds(heads[kept], tails[kept]), places[kept]), first[kept]


class Index:
    """All blobs of a repository. Not safe for several threads: the blob store holds a lock round it."""

    def __init__(self) -> None:
        self._packs: list[bytes] = []
        self._tables = {blob_type: _Table() for blob_type in BlobType}

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    @property
    def pack_count(self) -> int:
        """How many were added; their numbers are those below."""
        return len(self._packs)

    def packs(self) -> Iterator[bytes]:
        """The ids of all packs, as often as they were added."""
        return iter(self._packs)

    def add_pack(self, pack_id: bytes, blobs: Sequence[PackedBlob]) -> None:
        """Make the blobs of one pack known. A blob may be in several packs; any of them is found."""
        self._packs.append(pack_id)
        for blob in blobs:
            self._tables[blob.type].add(blob, len(self._packs) - 1)

    def add_columns(self, columns: IndexColumns) -> None:
        """Make all that an index file says known."""
        places = np.empty(len(columns.packs), dtype=_PLACE)
        places["pack"] = columns.packs + len(self._packs)
        places["offset"], places["length"] = columns.offsets, columns.lengths
        places["uncompressed"] = columns.uncompressed
        self._packs += columns.pack_ids
        ids = np.frombuffer(columns.ids, dtype=np.uint8).reshape(-1, ID_SIZE)
        for blob_type, chosen in ((BlobType.TREE, columns.trees), (BlobType.DATA, ~columns.trees)):
            self._tables[blob_type].add_many(ids[chosen].tobytes(), places[chosen])

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

    def first_numbers(self) -> Array:
        """For each pack, by number, the number it was added under the first time."""
        if not self._packs:
            return np.zeros(0, dtype=np.uint32)
        _, first, inverse = np.unique(np.array(self._packs, dtype="S32"), return_index=True, return_inverse=True)
        return first[inverse].astype(np.uint32)

    def entries(self, blob_type: BlobType) -> Entries:
        """All of one type, without a copy: nothing may be added while they are used."""
        return self._tables[blob_type].entries(self.first_numbers())
