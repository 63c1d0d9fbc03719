"""Proof that a device holds an image: it is read back and every piece is hashed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from icebrick.blockdev import BlockSource, Extent
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.blocks import Range
from icebrick.engine.block.image import StoredImage
from icebrick.engine.block.imagemap import ImageMap, map_image
from icebrick.engine.block.zeros import ZeroTest
from icebrick.parallel import Slot
from icebrick.progress import NO_PROGRESS, Progress, Task
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import digest

STRIPE_BYTES = 16 << 20
MAX_REPORTED = 100


@dataclass(slots=True)
class VerifyStats:
    """What was compared: bytes, and blocks (of an image of ours; of others, whatever their blobs are)."""

    size: int = 0
    blocks: int = 0
    zeros: int = 0
    """The blocks that must be zeros."""
    mismatches: int = 0
    first_mismatches: list[Extent] = field(default_factory=list)
    """At most 100 of them, ascending."""
    digest: str = ""
    """The image's (`StoredImage.digest`): with no mismatch it is also the device's."""


def verify_image(
    image: StoredImage,
    store: BlobStore,
    source: BlockSource,
    *,
    options: BlockOptions | None = None,
    progress: Progress = NO_PROGRESS,
) -> VerifyStats:
    """Compare every byte of `source`, up to the image's size, with the image; differences are counted, not raised."""
    pieces = map_image(image, store)
    slots = (options or BlockOptions()).slots
    with progress.task("verify", total=image.size, unit="B") as task:
        verification = _Verification(pieces, source, task)
        with slots.workers(verification.check, name="verify") as workers:
            for window in pieces.windows(STRIPE_BYTES):
                workers.put(window)
    return verification.result()


class _Verification:
    def __init__(self, pieces: ImageMap, source: BlockSource, task: Task) -> None:
        self._pieces, self._source, self._task = pieces, source, task
        self._is_zero = ZeroTest(pieces.longest)
        self._lock = threading.Lock()  # guards _wrong
        self._wrong: list[Extent] = []

    def check(self, window: Range, slot: Slot) -> None:
        wrong = [
            extent
            for piece in range(*window)
            for extent in self._pieces.extents(piece)
            if not self._matches(piece, extent, slot)
        ]
        with self._lock:
            self._wrong += wrong
        first, last = self._pieces.extent(window[0]), self._pieces.extent(window[1] - 1)
        self._task.advance(last.end - first.offset)

    def _matches(self, piece: int, extent: Extent, slot: Slot) -> bool:
        if extent.end > self._source.size:
            return False
        data = slot.memory(extent.length)
        self._source.read_into(extent.offset, data)
        return self._is_zero(data) if self._pieces.zeros[piece] else digest(data) == self._pieces.id_of(piece)

    def result(self) -> VerifyStats:
        pieces, wrong = self._pieces, sorted(self._wrong)
        return VerifyStats(
            size=pieces.image.size,
            blocks=int(pieces.blocks.sum()),
            zeros=int(pieces.blocks[pieces.zeros].sum()),
            mismatches=len(wrong),
            first_mismatches=wrong[:MAX_REPORTED],
            digest=pieces.image.digest,
        )
