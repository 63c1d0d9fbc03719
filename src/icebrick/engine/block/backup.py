"""From a volume's bytes to blobs: every block is read once, and only what is new is hashed, packed and stored."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, field

import numpy as np

from icebrick.blockdev import BlockSource, Data
from icebrick.engine.block.blocks import BLOCK_SIZE, Blocks, Mask, Range, runs, stripes
from icebrick.engine.block.changes import SAMPLES, ChangeMap
from icebrick.engine.block.fingerprint import FINGERPRINT_SIZE, Fingerprints, new_fingerprint_key
from icebrick.engine.block.image import StoredImage, block_ids, save_image
from icebrick.engine.block.rows import zero_rows
from icebrick.engine.block.zerolist import ZERO_BLOCK
from icebrick.engine.block.zeros import ZeroTest
from icebrick.parallel import Slot, Slots
from icebrick.progress import NO_PROGRESS, Progress, Task
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node

log = logging.getLogger(__name__)

STRIPE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """How images are read and written. Memory grows with the number of slots: about 25 MiB each."""

    block_size: int = BLOCK_SIZE
    """Of new images; one that has a parent keeps the parent's."""
    slots: Slots = field(default_factory=Slots)
    """One for all images of a run, which so are bounded together."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What to compare with: an earlier image of the same volume, and what may have changed since, if that is known."""

    image: StoredImage
    changes: ChangeMap | None = None


@dataclass(slots=True)
class ImageStats:
    """Counts of blocks; bytes read from the source."""

    blocks: int = 0
    zero: int = 0
    unchanged: int = 0
    stored: int = 0
    """Blocks that were hashed; those the repository had already are among them."""
    bytes_read: int = 0
    change_map: str = "none"
    """"none", "used", or "rejected" when a sample contradicted it."""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """An image whose blobs are with the writer; `nodes` belong into the snapshot's tree."""

    image: StoredImage
    nodes: tuple[Node, ...]
    stats: ImageStats


@dataclass(frozen=True, slots=True)
class _Parent:
    ids: Data
    fingerprints: Fingerprints
    changes: ChangeMap | None

    def id_of(self, number: int) -> bytes:
        return bytes(self.ids[number * ID_SIZE : (number + 1) * ID_SIZE])


def backup_image(
    source: BlockSource,
    writer: BlobWriter,
    moment: Timestamp,
    *,
    baseline: Baseline | None = None,
    options: BlockOptions | None = None,
    progress: Progress = NO_PROGRESS,
) -> ImageResult:
    """Hand all blocks of `source` to `writer`; `moment` becomes the times of the files in the snapshot."""
    options = options or BlockOptions()
    parent = _usable(baseline)
    blocks = Blocks(source.size, parent.fingerprints.blocks.block_size if parent else options.block_size)
    with progress.task("read", total=source.size, unit="B") as task:
        backup = _ImageBackup(source, writer, blocks, parent, task)
        backup.run(options.slots)
    with options.slots.take():
        image, nodes = save_image(writer, backup.ids, backup.fingerprints, moment)
    return ImageResult(image, nodes, backup.stats)


def _usable(baseline: Baseline | None) -> _Parent | None:
    if baseline is None or baseline.image.fingerprints is None:
        return None
    ids = block_ids(baseline.image)
    if ids is None:
        log.warning("the parent image is not made of blocks, reading everything")
        return None
    return _Parent(ids, baseline.image.fingerprints, baseline.changes)


class _ImageBackup:
    """One image on its way. Blocks are independent: each is the work of one thread, and writes its own places only."""

    def __init__(
        self, source: BlockSource, writer: BlobWriter, blocks: Blocks, parent: _Parent | None, task: Task
    ) -> None:
        self._source, self._writer, self._blocks, self._parent, self._task = source, writer, blocks, parent, task
        self.ids = zero_rows(blocks.count * ID_SIZE)  # zero until known: as for blocks of zeros
        key = parent.fingerprints.key if parent else new_fingerprint_key()
        self._values = zero_rows(blocks.count * FINGERPRINT_SIZE)
        self.fingerprints = Fingerprints(blocks, key, self._values)
        self.stats = ImageStats(blocks=blocks.count)
        self._lock = threading.Lock()  # guards stats
        self._fingerprint = self.fingerprints.fingerprinter()
        self._is_zero = ZeroTest(blocks.block_size)

    def run(self, slots: Slots) -> None:
        behind = 0
        with slots.workers(self._read_stripe, name="block") as workers:
            for stripe in stripes(self._to_read(slots), max(1, STRIPE_BYTES // self._blocks.block_size)):
                self._task.advance(self._blocks.bytes_in((behind, stripe[0])))
                workers.put(stripe)
                behind = stripe[1]
        self._task.advance(self._blocks.bytes_in((behind, self._blocks.count)))
        self.stats.zero = self.stats.blocks - self.stats.unchanged - self.stats.stored

    def _to_read(self, slots: Slots) -> Mask:
        """The blocks that must be read; the ids of all others are settled when this returns."""
        holding_data = self._blocks.touched(self._source.extents())
        if self._parent is None or self._parent.changes is None:
            return holding_data
        kept = self._vouched_for(self._parent) & ~self._blocks.touched(self._parent.changes.changed())
        if not self._believable(self._parent, kept, slots):
            self.stats.change_map = "rejected"
            log.error("the change map is wrong: a block it calls unchanged differs; reading the whole volume")
            return holding_data
        self.stats.change_map = "used"
        self._adopt(self._parent, kept)
        return holding_data & ~kept

    def _vouched_for(self, parent: _Parent) -> Mask:
        """The blocks whose ids the parent can tell: inside both sizes, of one length, still in the repository."""
        before = parent.fingerprints.blocks
        same_size = before.size == self._blocks.size
        mask = np.zeros(self._blocks.count, dtype=np.bool_)
        mask[: before.count if same_size else min(before.size, self._blocks.size) // before.block_size] = True
        for number in np.flatnonzero(mask).tolist():
            blob_id = parent.id_of(number)
            mask[number] = blob_id == ZERO_BLOCK or self._writer.holds(BlobType.DATA, blob_id)
        return mask

    def _believable(self, parent: _Parent, kept: Mask, slots: Slots) -> bool:
        candidates = np.flatnonzero(kept)
        chosen = random.SystemRandom().sample(range(len(candidates)), min(SAMPLES, len(candidates)))
        with slots.take() as slot:
            return all(self._as_in(parent, int(candidates[position]), slot) for position in sorted(chosen))

    def _as_in(self, parent: _Parent, number: int, slot: Slot) -> bool:
        block = slot.memory(self._blocks.length(number))
        self._source.read_into(self._blocks.offset(number), block)
        value = bytes(FINGERPRINT_SIZE) if self._is_zero(block) else self._fingerprint(block)
        return value == parent.fingerprints.of(number)

    def _adopt(self, parent: _Parent, kept: Mask) -> None:
        for first, behind in runs(kept):
            ids = slice(first * ID_SIZE, behind * ID_SIZE)
            values = slice(first * FINGERPRINT_SIZE, behind * FINGERPRINT_SIZE)
            self.ids[ids] = parent.ids[ids]
            self._values[values] = parent.fingerprints.values[values]
        self.stats.unchanged = sum(parent.id_of(number) != ZERO_BLOCK for number in np.flatnonzero(kept).tolist())

    def _read_stripe(self, stripe: Range, slot: Slot) -> None:
        unchanged = stored = 0
        for number in range(*stripe):
            block = slot.memory(self._blocks.length(number))
            self._source.read_into(self._blocks.offset(number), block)
            if self._is_zero(block):
                continue
            if self._store(number, block):
                stored += 1
            else:
                unchanged += 1
        length = self._blocks.bytes_in(stripe)
        with self._lock:
            self.stats.unchanged += unchanged
            self.stats.stored += stored
            self.stats.bytes_read += length
        self._task.advance(length)

    def _store(self, number: int, block: memoryview) -> bool:
        """Settle a block's id; False when the parent's could be taken."""
        value = self._fingerprint(block)
        blob_id = self._parent_id(number, value)
        known = blob_id is not None
        if blob_id is None:
            blob_id = self._writer.save(BlobType.DATA, block)
        self.ids[number * ID_SIZE : (number + 1) * ID_SIZE] = blob_id
        self._values[number * FINGERPRINT_SIZE : (number + 1) * FINGERPRINT_SIZE] = value
        return not known

    def _parent_id(self, number: int, value: bytes) -> bytes | None:
        parent = self._parent
        if parent is None or number >= parent.fingerprints.blocks.count or parent.fingerprints.of(number) != value:
            return None
        blob_id = parent.id_of(number)
        return blob_id if self._writer.holds(BlobType.DATA, blob_id) else None
