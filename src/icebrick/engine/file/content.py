"""Files' content, from the blobs of a repository to files that are open: in batches, on several threads.

A batch is what one thread does in one go: parts of files, whose blobs are loaded pack by pack. What a file holds
already is compared and not written, and where zeros belong there are holes.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from icebrick.blockdev import Data
from icebrick.engine.file.outcome import raise_if_full
from icebrick.errors import CorruptDataError
from icebrick.parallel import Slot, Slots
from icebrick.progress import Task
from icebrick.repository.blob import PackedBlob
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.index.index import Places
from icebrick.repository.tree import Node
from icebrick.zeroing import zero_range

BATCH_BYTES = 8 << 20
BATCH_FILES = 32
_PAGE = 4096
_SMALL = 4 * _PAGE
_READ = 1 << 20


class OpenFile:
    """A file whose content is put right. The thread that is done with its last part calls `finish`, and closes it."""

    def __init__(self, fd: int, node: Node, *, fresh: bool, finish: Callable[[OpenFile], None]) -> None:
        self.fd, self.node, self.fresh = fd, node, fresh
        self.length = 0
        self.written = 0
        self.problem: str | None = None
        self._finish = finish
        self._parts = 1
        self._lock = threading.Lock()  # guards all of these numbers

    def expect(self, parts: int) -> None:
        """How many times `part_done` will be called; said before the first."""
        self._parts = parts

    def fail(self, reason: str) -> None:
        with self._lock:
            self.problem = self.problem or reason

    def write(self, offset: int, data: Data) -> None:
        """What cannot be written is noted; FileSystemError when there is no room."""
        try:
            for run in page_runs(data):
                self._write_run(offset + run.start, memoryview(data)[run.start : run.end], is_zero=run.is_zero)
        except OSError as error:
            raise_if_full(error)
            self.fail(f"cannot be written: {error.strerror}")

    def _write_run(self, offset: int, data: memoryview, *, is_zero: bool) -> None:
        if is_zero and self.fresh:
            return
        if is_zero:
            zero_range(self.fd, offset, len(data))
        with self._lock:
            self.written += len(data)
        while data and not is_zero:
            count = os.pwrite(self.fd, data, offset)
            offset, data = offset + count, data[count:]

    def part_done(self, length: int) -> None:
        """`length` is the part's, in bytes."""
        with self._lock:
            self.length += length
            self._parts -= 1
            if self._parts:
                return
        try:
            self._finish(self)
        finally:
            os.close(self.fd)


class Run(NamedTuple):
    """Pages of which all or none are zeros."""

    start: int
    end: int
    is_zero: bool


def page_runs(data: Data) -> Iterator[Run]:
    """All of `data`, in order; its last page may be shorter. A little data is not looked at page by page."""
    if len(data) < _SMALL:
        if data:
            yield Run(0, len(data), is_zero=not np.frombuffer(data, dtype=np.uint8).any())
        return
    whole = len(data) // _PAGE
    pages = np.frombuffer(data, dtype=np.uint64, count=whole * _PAGE // 8).reshape(whole, _PAGE // 8)
    used = np.zeros(-(-len(data) // _PAGE), dtype=np.bool_)
    used[:whole] = pages.any(axis=1)
    used[whole:] = any(memoryview(data)[whole * _PAGE :])
    edges = [0, *(np.flatnonzero(np.diff(used)) + 1).tolist(), len(used)]
    for first, behind in itertools.pairwise(edges):
        if first < behind:
            yield Run(first * _PAGE, min(behind * _PAGE, len(data)), is_zero=not used[first])


@dataclass(frozen=True, slots=True)
class Part:
    """Blobs that follow each other in a file, by their ids, from `offset` on; about `size` bytes."""

    file: OpenFile
    content: bytes
    size: int
    offset: int = 0


def parts_of(file: OpenFile, store: BlobStore) -> list[Part]:
    """The whole of a file in parts of about `BATCH_BYTES`."""
    content = file.node.content
    if file.node.size <= BATCH_BYTES or len(content) == ID_SIZE:
        return [Part(file, content, file.node.size)]
    try:
        ends = np.cumsum(store.places(content).sizes)
    except CorruptDataError as error:
        file.fail(str(error))
        return [Part(file, b"", 0)]
    parts: list[Part] = []
    first = offset = 0
    while first < len(ends):
        behind = max(first + 1, int(np.searchsorted(ends, offset + BATCH_BYTES, side="right")))
        end = int(ends[behind - 1])
        parts.append(Part(file, content[first * ID_SIZE : behind * ID_SIZE], end - offset, offset))
        first, offset = behind, end
    file.expect(len(parts))
    return parts


class _Piece(NamedTuple):
    """A blob that a file needs at an offset."""

    number: int
    file: OpenFile
    offset: int


class ContentWriter:
    """Fills open files. Methods may be called from any thread."""

    def __init__(self, store: BlobStore, slots: Slots, task: Task) -> None:
        self._store, self._slots, self._task = store, slots, task
        self._zeros: set[bytes] = set()  # ids of blobs that were found to be nothing but zeros

    def fill(self, batch: Sequence[Part]) -> None:
        """Put the parts right; what is wrong with a file is noted with it. The caller must not have a slot."""
        for part, length in self._fill(batch):
            part.file.part_done(length)
            self._task.advance(length)

    def _fill(self, batch: Sequence[Part]) -> list[tuple[Part, int]]:
        """The parts and their lengths."""
        content = b"".join(part.content for part in batch)
        if not content:
            return [(part, 0) for part in batch]
        try:
            places = self._store.places(content)
        except CorruptDataError as error:
            if len(batch) > 1:
                return [filled for part in batch for filled in self._fill([part])]
            batch[0].file.fail(str(error))
            return [(batch[0], 0)]
        ids = split_ids(content)
        sizes = places.sizes.tolist()
        wanted: list[_Piece] = []
        filled: list[tuple[Part, int]] = []
        number = 0
        with self._slots.take() as slot:
            for part in batch:
                offset = part.offset
                for blob_id in split_ids(part.content):
                    if not self._holds(part.file, offset, sizes[number], blob_id, slot):
                        wanted.append(_Piece(number, part.file, offset))
                    offset += sizes[number]
                    number += 1
                filled.append((part, offset - part.offset))
        self._load(wanted, ids, places)
        return filled

    def _holds(self, file: OpenFile, offset: int, size: int, blob_id: bytes, slot: Slot) -> bool:
        known_zero = blob_id in self._zeros
        if file.fresh:
            return known_zero
        if known_zero and is_hole(file.fd, offset, size):
            return offset + size <= os.fstat(file.fd).st_size
        return read_id(file.fd, offset, size, slot) == blob_id

    def _load(self, wanted: Sequence[_Piece], ids: Sequence[bytes], places: Places) -> None:
        """Pack by pack, in the order in which the blobs lie there."""
        packs: defaultdict[int, list[_Piece]] = defaultdict(list)
        for piece in wanted:
            packs[int(places.packs[piece.number])].append(piece)
        for pack, pieces in packs.items():
            pieces.sort(key=lambda piece: (int(places.offsets[piece.number]), piece.offset))
            blobs: list[PackedBlob] = []
            users: list[list[_Piece]] = []
            for piece in pieces:
                blob_id = ids[piece.number]
                if not blobs or blobs[-1].id != blob_id:
                    blobs.append(places.blob(piece.number, blob_id))
                    users.append([])
                users[-1].append(piece)
            self._load_pack(pack, blobs, users)

    def _load_pack(self, pack: int, blobs: list[PackedBlob], users: list[list[_Piece]]) -> None:
        done: set[int] = set()

        def use(number: int, data: Data) -> None:
            self._use(blobs[number].id, data, users[number])
            done.add(number)

        try:
            self._store.load_many(pack, blobs, use, self._slots)
        except CorruptDataError:  # one of them is damaged; the others are not to suffer
            for number, blob in enumerate(blobs):
                if number in done:
                    continue
                try:
                    use(number, self._store.load(BlobType.DATA, blob.id))
                except CorruptDataError as error:
                    for piece in users[number]:
                        piece.file.fail(str(error))

    def _use(self, blob_id: bytes, data: Data, users: Sequence[_Piece]) -> None:
        if not data[0] and next(page_runs(data)) == (0, len(data), True):
            self._zeros.add(blob_id)
        for piece in users:
            piece.file.write(piece.offset, data)


def split_ids(content: bytes) -> list[bytes]:
    """The ids of blobs, one by one."""
    return [content[start : start + ID_SIZE] for start in range(0, len(content), ID_SIZE)]


def is_hole(fd: int, offset: int, length: int) -> bool:
    """Whether the range holds no data at all, which reads as zeros."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        return error.errno == errno.ENXIO


def read_id(fd: int, offset: int, length: int, slot: Slot) -> bytes | None:
    """The id of what lies there; None when the file ends before or cannot be read."""
    buffer, found, end = slot.memory(_READ), hashlib.sha256(), offset + length
    try:
        while offset < end and (count := os.preadv(fd, [buffer[: end - offset]], offset)):
            found.update(buffer[:count])
            offset += count
    except OSError:
        return None
    return found.digest() if offset == end else None


def holds_content(fd: int, node: Node, store: BlobStore, slots: Slots) -> bool:
    """Whether an open file has the node's content, and no more; CorruptDataError when a blob is in no index."""
    sizes = store.places(node.content).sizes.tolist() if node.content else []
    if os.fstat(fd).st_size != sum(sizes):
        return False
    offset = 0
    with slots.take() as slot:
        for blob_id, size in zip(split_ids(node.content), sizes, strict=True):
            if read_id(fd, offset, size, slot) != blob_id:
                return False
            offset += size
    return True
