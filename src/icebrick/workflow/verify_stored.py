"""Proof that a snapshot can be restored as it was: all of it is read back and held against its digests.

Each blob is named by the SHA-256 of the bytes that were read at the source when they were first stored. So what has
its id is what was read then; and the snapshot names, through its trees, each blob of each file in order. Beside an
image lie keyed fingerprints of all its blocks, computed when they were read for this very backup, also where a block
was recognised as unchanged and its id taken from the parent. They are computed again here of what was read back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from icebrick.blockdev import Data
from icebrick.engine.block.fingerprint import FINGERPRINT_SIZE, Fingerprinter
from icebrick.engine.block.image import IMAGE_NAME, StoredImage, block_ids, find_image
from icebrick.engine.block.zerolist import ZERO_BLOCK, id_lines, lines_with
from icebrick.engine.file.base import Problem
from icebrick.errors import CorruptDataError, RepositoryError
from icebrick.filesystem.record import FILE_NAME as FILE_SYSTEM_RECORD
from icebrick.parallel import Slots, Workers
from icebrick.progress import NO_PROGRESS, Progress, Task
from icebrick.repository.blob import PackedBlob
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.index.index import Places
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.tree import decode_tree
from icebrick.repository.treecache import TreeCache
from icebrick.workflow.browse import Found, Search, search_snapshot
from icebrick.workflow.images import Images
from icebrick.workflow.record import FILE_NAME as VOLUME_RECORD

MAX_REPORTED = 100
_AT_ONCE = 64  # blobs of one pack that are one thread's work

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Proof:
    """What reading a snapshot back has shown. Sizes in bytes; all is well when `problem_count` is 0."""

    entries: int
    """Of all directories."""
    size: int
    """Of all regular files."""
    blobs: int
    """Different ones, each read and found to have its SHA-256."""
    bytes_read: int
    """Of these, what was not read for another snapshot of this run already."""
    fingerprints: int
    """Blocks of the image whose fingerprint, as it was computed at the source, is that of what was read back."""
    digest: str
    """The image's (`StoredImage.digest`), else the id of the snapshot's tree, in hex."""
    problems: tuple[Problem, ...]
    """At most 100 of them, by path."""
    problem_count: int


class StoredProofs:
    """Proves one snapshot after the other; what they share is read once. For one thread."""

    def __init__(self, images: Images, slots: Slots, progress: Progress = NO_PROGRESS) -> None:
        self._images, self._slots, self._progress = images, slots, progress
        self._proven: dict[bytes, _Proven] = {}  # by the key of the fingerprints, b"" without any

    def prove(self, snapshot: Snapshot) -> Proof:
        """BackendError when something cannot be read at all; damage is in the result."""
        content = _Content(self._images, snapshot)
        image = content.image()
        key = image.fingerprints.key if image is not None and image.fingerprints is not None else b""
        proven = self._proven.setdefault(key, _Proven())
        reading = _Reading(self._images, bytes(content.ids), Fingerprinter(key) if key else None)
        missing = reading.numbers[proven.lacks(reading.keys)]
        with self._progress.task("verify", total=reading.size_of(missing), unit="B") as task:
            damaged = reading.run(missing, self._slots, task)
        proven.add(reading.keys_of(missing, damaged), reading.values_of(missing, damaged))
        if damaged:
            content.tell_damaged(damaged)
        fingerprints = 0
        if image is not None and not content.problems:
            fingerprints = content.compare_fingerprints(image, proven)
        return content.proof(image, len(reading.numbers), reading.bytes_read, fingerprints)


@dataclass(slots=True)
class _Content:
    """What a snapshot names, found by a walk that notes what is wrong."""

    images: Images
    snapshot: Snapshot
    ids: bytearray = field(default_factory=bytearray)
    entries: int = 0
    size: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0

    def __post_init__(self) -> None:
        for found in self._walk():
            self.entries += 1
            self._check(found)
        self._check_records()

    def _walk(self) -> Iterator[Found]:
        search = Search(TreeCache(self.images.store))
        yield from search_snapshot(search, self.snapshot)
        for problem in search.problems:
            self._tell(problem.path, problem.reason)

    def _check(self, found: Found) -> None:
        node = found.node
        if node.type != "file":
            return
        try:
            size = int(self.images.store.places(node.content).sizes.sum())
        except CorruptDataError as error:
            self._tell(found.shown, str(error))
            return
        if size != node.size:
            self._tell(found.shown, f"it has {size} bytes, and should have {node.size}")
        self.ids += node.content
        self.size += size

    def _check_records(self) -> None:
        """Without these, no volume could be made again."""
        names = _names(self.images, self.snapshot)
        for name, read in ((VOLUME_RECORD, self.images.record), (FILE_SYSTEM_RECORD, self.images.file_system)):
            if name in names:
                try:
                    read(self.snapshot)
                except RepositoryError as error:
                    self._tell(f"/{name}", str(error))

    def _tell(self, path: str, reason: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_REPORTED:
            self.problems.append(Problem(path, reason))

    def image(self) -> StoredImage | None:
        """None also when it is damaged: that is told by the walk."""
        try:
            return find_image(self.images.store, self.snapshot.tree)
        except CorruptDataError:
            return None

    def tell_damaged(self, damaged: dict[bytes, str]) -> None:
        """Which files the blobs belong to takes another walk, as nobody else needs to know."""
        for found in search_snapshot(Search(TreeCache(self.images.store)), self.snapshot):
            content = found.node.content
            ids = {content[start : start + ID_SIZE] for start in range(0, len(content), ID_SIZE)}
            hurt = sorted(ids & damaged.keys())
            if hurt:
                self._tell(found.shown, damaged[hurt[0]])

    def compare_fingerprints(self, image: StoredImage, proven: _Proven) -> int:
        """Of how many blocks they are right."""
        fingerprints, ids = image.fingerprints, block_ids(image)
        if fingerprints is None:
            return 0
        if ids is None:
            self._tell(f"/{IMAGE_NAME}", "its fingerprints are of another image")
            return 0
        wanted = np.frombuffer(fingerprints.values, dtype=np.uint64).reshape(-1, FINGERPRINT_SIZE // 8)
        holding_data = np.flatnonzero(~lines_with(id_lines(ids), ZERO_BLOCK))
        places = self.images.store.places(id_lines(ids)[holding_data].tobytes())
        found = proven.values_of(_keys(places))
        wrong = holding_data[(found != wanted[holding_data]).any(axis=1)]
        for number in wrong[:MAX_REPORTED].tolist():
            offset = fingerprints.blocks.offset(number)
            self._tell(f"/{IMAGE_NAME}", f"the block at {offset} is not what was read at the source")
        self.problem_count += max(0, len(wrong) - MAX_REPORTED)
        return fingerprints.blocks.count - len(wrong)

    def proof(self, image: StoredImage | None, blobs: int, bytes_read: int, fingerprints: int) -> Proof:
        return Proof(
            entries=self.entries,
            size=self.size,
            blobs=blobs,
            bytes_read=bytes_read,
            fingerprints=fingerprints,
            digest=self.snapshot.tree.hex() if image is None else image.digest,
            problems=tuple(sorted(self.problems, key=lambda problem: problem.path)),
            problem_count=self.problem_count,
        )


def _names(images: Images, snapshot: Snapshot) -> frozenset[str]:
    """Of the entries of the snapshot's root; none when that is damaged, as the walk tells."""
    try:
        return frozenset(node.name for node in decode_tree(images.store.load(BlobType.TREE, snapshot.tree)))
    except CorruptDataError:
        return frozenset()


class _Proven:
    """The blobs that were read and right, by where they lie, and their fingerprints under one key."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, dtype=np.uint64)  # ascending
        self._values = np.zeros((0, FINGERPRINT_SIZE // 8), dtype=np.uint64)

    def lacks(self, keys: Array) -> npt.NDArray[np.bool_]:
        return ~np.isin(keys, self._keys)

    def add(self, keys: Array, values: Array) -> None:
        keys = np.concatenate([self._keys, keys])
        order = np.argsort(keys)
        self._keys, self._values = keys[order], np.concatenate([self._values, values])[order]

    def values_of(self, keys: Array) -> Array:
        """All of them are there."""
        values: Array = self._values[np.searchsorted(self._keys, keys)]
        return values


class _Reading:
    """The different ones among some blobs, numbered by where they lie."""

    def __init__(self, images: Images, ids: bytes, fingerprint: Fingerprinter | None) -> None:
        self._store, self._ids, self._fingerprint = images.store, ids, fingerprint
        self._places = self._store.places(ids)
        self.keys, self._first = np.unique(_keys(self._places), return_index=True)
        self.numbers = np.arange(len(self.keys))
        self._sizes = self._places.sizes[self._first]
        self._values = np.zeros((len(self.keys), FINGERPRINT_SIZE // 8), dtype=np.uint64)
        self._lock = threading.Lock()  # guards the two below
        self._damaged: dict[int, str] = {}
        self.bytes_read = 0

    def size_of(self, numbers: Array) -> int:
        return int(self._sizes[numbers].sum())

    def keys_of(self, numbers: Array, damaged: dict[bytes, str]) -> Array:
        keys: Array = self.keys[self._right(numbers, damaged)]
        return keys

    def values_of(self, numbers: Array, damaged: dict[bytes, str]) -> Array:
        values: Array = self._values[self._right(numbers, damaged)]
        return values

    def _right(self, numbers: Array, damaged: dict[bytes, str]) -> Array:
        if not damaged:
            return numbers
        right: Array = numbers[~np.isin(numbers, list(self._damaged))]
        return right

    def run(self, numbers: Array, slots: Slots, task: Task) -> dict[bytes, str]:
        """Read these; what is wrong with those that are damaged, by their ids."""

        def read(group: Array) -> None:
            self._read(group, slots)
            task.advance(self.size_of(group))

        with Workers(read, threads=self._store.connections, name="verify") as workers:
            for group in self._groups(numbers):
                workers.put(group)
        return {self._id(number): reason for number, reason in self._damaged.items()}

    def _groups(self, numbers: Array) -> Iterator[Array]:
        packs = self.keys[numbers] >> np.uint64(32)
        for pack in np.split(numbers, np.flatnonzero(np.diff(packs)) + 1):
            for start in range(0, len(pack), _AT_ONCE):
                yield pack[start : start + _AT_ONCE]

    def _read(self, group: Array, slots: Slots) -> None:
        blobs = [self._blob(number) for number in group.tolist()]

        def use(place: int, data: Data) -> None:
            number = int(group[place])
            if self._fingerprint is not None:
                self._values[number] = np.frombuffer(self._fingerprint(data), dtype=np.uint64)

        try:
            self._store.load_many(int(self._places.packs[self._first[group[0]]]), blobs, use, slots)
        except CorruptDataError:
            self._read_singly(group, use)
        with self._lock:
            self.bytes_read += self.size_of(group)

    def _read_singly(self, group: Array, use: Any) -> None:
        """Where one of several is damaged, the others may be right."""
        for place, number in enumerate(group.tolist()):
            try:
                use(place, self._store.load(BlobType.DATA, self._id(number)))
            except CorruptDataError as error:
                with self._lock:
                    self._damaged[number] = str(error)

    def _id(self, number: int) -> bytes:
        first = int(self._first[number])
        return self._ids[first * ID_SIZE : (first + 1) * ID_SIZE]

    def _blob(self, number: int) -> PackedBlob:
        return self._places.blob(int(self._first[number]), self._id(number))


def _keys(places: Places) -> Array:
    """A number for each, equal for one blob: its pack and its place there."""
    keys: Array = places.packs.astype(np.uint64) << np.uint64(32) | places.offsets.astype(np.uint64)
    return keys
