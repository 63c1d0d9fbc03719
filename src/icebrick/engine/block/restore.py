"""From blobs to a volume's bytes: only what differs is loaded and written, pack by pack, every blob proven."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icebrick.blockdev import BlockTarget, Data, Extent
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.blocks import Range, stripes
from icebrick.engine.block.image import StoredImage
from icebrick.engine.block.imagemap import ImageMap, map_image
from icebrick.engine.block.zeros import ZeroTest
from icebrick.errors import UsageError
from icebrick.parallel import Slot, Slots, Workers
from icebrick.progress import NO_PROGRESS, Progress, Task
from icebrick.repository.blob import PackedBlob
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import digest

STRIPE_PIECES = 16
WINDOW = 32 << 20


@dataclass(slots=True)
class RestoreStats:
    """In bytes of the volume."""

    size: int = 0
    written: int = 0
    discarded: int = 0
    """Ranges that held something else than the zeros they hold now."""
    matching: int = 0
    """Ranges that held the right data already and were read, but not written."""


def restore_image(
    image: StoredImage,
    store: BlobStore,
    target: BlockTarget,
    *,
    options: BlockOptions | None = None,
    progress: Progress = NO_PROGRESS,
) -> RestoreStats:
    """Make `target` hold the image, durably; what lies behind the image's end is left as it is.

    UsageError when the target is too small; CorruptDataError at the first damaged blob, when parts of the target may
    have been written.
    """
    if target.size < image.size:
        raise UsageError(f"the target has {target.size} bytes, the image needs {image.size}")
    pieces = map_image(image, store)
    slots = (options or BlockOptions()).slots
    with progress.task("restore", total=image.size, unit="B") as task:
        restore = _ImageRestore(pieces, store, target, task)
        restore.compare(slots)
        restore.write(slots)
    target.flush()
    return restore.stats


class _ImageRestore:
    """Pieces are independent: each is the work of one thread at a time."""

    def __init__(self, pieces: ImageMap, store: BlobStore, target: BlockTarget, task: Task) -> None:
        self._pieces, self._store, self._target, self._task = pieces, store, target, task
        self.stats = RestoreStats(size=pieces.image.size)
        self._right = pieces.zeros.copy()  # what needs no data: zeros, and what the target holds already
        self._lock = threading.Lock()  # guards stats
        self._is_zero = ZeroTest(pieces.longest)
        fingerprints = pieces.image.fingerprints
        self._fingerprints = fingerprints
        self._fingerprint = fingerprints.fingerprinter() if fingerprints else None

    def compare(self, slots: Slots) -> None:
        """Read what the target may hold; discard where zeros belong, and note what is right."""
        occupied = self._pieces.touched(_within(self._target.extents(), self._pieces.image.size))
        self._task.advance(int(self._pieces.sizes[~occupied & self._right].sum()))
        with slots.workers(self._compare_stripe, name="compare") as workers:
            for stripe in stripes(occupied, STRIPE_PIECES):
                workers.put(stripe)

    def _compare_stripe(self, stripe: Range, slot: Slot) -> None:
        wrong_zeros: list[Extent] = []
        matching = zeros = 0
        for piece in range(*stripe):
            extent = self._pieces.extent(piece)
            if self._pieces.zeros[piece]:
                wrong_zeros += self._not_zero(piece, slot)
                zeros += extent.length
            elif self._holds(piece, extent, slot.memory(extent.length)):
                self._right[piece] = True
                matching += extent.length
        for extent in _joined(wrong_zeros):
            self._target.discard(extent)
        with self._lock:
            self.stats.matching += matching
            self.stats.discarded += sum(extent.length for extent in wrong_zeros)
        self._task.advance(zeros + matching)

    def _not_zero(self, piece: int, slot: Slot) -> Iterator[Extent]:
        """Where the target holds something else than the piece's zeros, block by block."""
        for extent in self._pieces.extents(piece):
            data = slot.memory(extent.length)
            self._target.read_into(extent.offset, data)
            if not self._is_zero(data):
                yield extent

    def _holds(self, piece: int, extent: Extent, data: memoryview) -> bool:
        """Whether the piece's data is there; told by its fingerprint where there is one, else by its id."""
        self._target.read_into(extent.offset, data)
        if self._fingerprints is not None and self._fingerprint is not None:
            number, rest = divmod(extent.offset, self._fingerprints.blocks.block_size)
            if not rest and extent.length == self._fingerprints.blocks.length(number):
                return self._fingerprint(data) == self._fingerprints.of(number)
        return digest(data) == self._pieces.id_of(piece)

    def write(self, slots: Slots) -> None:
        """Load and write everything that is not right yet, in order of packs."""

        def write_pack(pieces: npt.NDArray[np.int64]) -> None:
            written = load_pieces(self._store, self._pieces, pieces, self._target.write, slots)
            with self._lock:
                self.stats.written += written
            self._task.advance(written)

        with Workers(write_pack, threads=self._store.connections, name="restore") as workers:
            for pieces in _by_pack(self._pieces, np.flatnonzero(~self._right)):
                workers.put(pieces)


def _within(extents: Iterator[Extent], size: int) -> Iterator[Extent]:
    for extent in extents:
        if extent.offset < size:
            yield Extent(extent.offset, min(extent.end, size) - extent.offset)


def _joined(extents: list[Extent]) -> list[Extent]:
    """The same bytes, neighbours as one."""
    joined: list[Extent] = []
    for extent in extents:
        if joined and joined[-1].end == extent.offset:
            joined[-1] = Extent(joined[-1].offset, joined[-1].length + extent.length)
        else:
            joined.append(extent)
    return joined


def _by_pack(pieces: ImageMap, wanted: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The wanted pieces, those of one pack together in order of their place there; packs in order of the volume."""
    if not len(wanted):
        return []
    packs = pieces.places.packs[wanted]
    order = np.lexsort((pieces.places.offsets[wanted], packs))
    groups = np.split(wanted[order], np.flatnonzero(np.diff(packs[order])) + 1)
    return sorted(groups, key=lambda group: int(group.min()))


def load_pieces(
    store: BlobStore, pieces: ImageMap, wanted: npt.NDArray[np.int64], use: Callable[[int, Data], None], slots: Slots
) -> int:
    """Load pieces of one pack, ordered by their place there; in a slot, call `use` with each one's offset and data.

    How many bytes were used.
    """
    blobs: list[PackedBlob] = []
    users: list[list[int]] = []
    for piece in wanted.tolist():
        blob_id = pieces.id_of(piece)
        if not blobs or blobs[-1].id != blob_id:
            blobs.append(pieces.places.blob(piece, blob_id))
            users.append([])
        users[-1].append(piece)

    def fan_out(number: int, data: Data) -> None:
        for piece in users[number]:
            use(int(pieces.offsets[piece]), data)

    store.load_many(int(pieces.places.packs[wanted[0]]), blobs, fan_out, slots)
    return int(pieces.sizes[wanted].sum())


def dump_image(
    image: StoredImage,
    store: BlobStore,
    write: Callable[[Data], None],
    *,
    options: BlockOptions | None = None,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Hand the image's bytes to `write`, in order; loads a window of 32 MiB at a time in parallel."""
    pieces = map_image(image, store)
    slots = (options or BlockOptions()).slots
    with progress.task("dump", total=image.size, unit="B") as task:
        for first, behind in pieces.windows(WINDOW):
            start, end = pieces.extent(first).offset, pieces.extent(behind - 1).end
            window = memoryview(bytearray(end - start))

            def put(offset: int, data: Data, start: int = start, window: memoryview = window) -> None:
                window[offset - start : offset - start + len(data)] = data

            def load(group: npt.NDArray[np.int64], put: Callable[[int, Data], None] = put) -> None:
                load_pieces(store, pieces, group, put, slots)

            wanted = np.arange(first, behind)
            with Workers(load, threads=store.connections, name="dump") as workers:
                for group in _by_pack(pieces, wanted[~pieces.zeros[first:behind]]):
                    workers.put(group)
            write(window)
            task.advance(end - start)
