"""Removes what no snapshot needs.

The order is what makes it safe to be killed anywhere: blobs that are still needed are stored in new packs, which an
index names; new index files replace those that name what will go; only then packs are removed. Whatever dies between
leaves needless copies, which the next prune removes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from icebrick.backend.base import FileType, Handle
from icebrick.blockdev import Data
from icebrick.errors import RepositoryError
from icebrick.parallel import Workers
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blob import PackedBlob
from icebrick.repository.blobwriter import BlobWriter, open_writer
from icebrick.repository.ids import BlobType
from icebrick.repository.index.rewrite import remove_files, rewritten, save_index_files
from icebrick.repository.index.sortedids import Array, SortedIds
from icebrick.repository.packwriter import PackWriter
from icebrick.repository.prune.marks import MarkedEntries, by_pack
from icebrick.repository.prune.plan import Amount, PruneFigures, PruneOptions, PrunePlan, plan_prune
from icebrick.repository.repository import Repository

__all__ = ["Amount", "PruneFigures", "PruneOptions", "PrunePlan", "PruneResult", "execute_prune", "plan_prune"]

MAX_REPACKERS = 4
"""Each may leave a small pack of data and one of trees; fewer than `FEW_SMALL_PACKS`, or each prune would join them."""


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was done; `swept` are files that killed saves had left."""

    packs_removed: int
    packs_written: int
    index_files_removed: int
    index_files_written: int
    swept: int


def execute_prune(repository: Repository, plan: PrunePlan, progress: Progress = NO_PROGRESS) -> PruneResult:
    """Do what was planned under the exclusive lock that is still held. Nothing is removed when a needed blob is bad."""
    backend, key = repository.backend, repository.key
    # No index names them and no snapshot needs them. First, because a full disk may need the room.
    remove_files(backend, [_pack(pack_id) for pack_id in plan.unreferenced], "remove unindexed packs", progress)
    written = _repack(repository, plan, progress)
    index_files = save_index_files(backend, key, rewritten(backend, key, plan.rewrite, plan.kept, progress))
    remove_files(backend, [file.handle for file in plan.rewrite], "remove old index files", progress)
    gone = [_pack(plan.pack_ids[number]) for number in np.flatnonzero(plan.gone)]
    remove_files(backend, gone, "remove old packs", progress)
    return PruneResult(
        packs_removed=len(gone) + len(plan.unreferenced),
        packs_written=written,
        index_files_removed=len(plan.rewrite),
        index_files_written=index_files,
        swept=backend.sweep(datetime.now(UTC)),
    )


def _repack(repository: Repository, plan: PrunePlan, progress: Progress) -> int:
    """Store what is needed of packs that go anew, and prove that it is there; how many packs that made."""
    total = sum(len(positions) for _, positions in plan.move)
    if not total:
        return 0
    new = _NewPacks()
    packs = PackWriter(repository.backend, repository.key, lambda *_: False, new.add)
    with progress.task("repack", total=total, unit="blobs") as task, packs.open(), open_writer(packs) as writer:
        for one, positions in plan.move:
            _move(plan, one, positions, writer, task.advance)
    for one, positions in plan.move:
        if not new.hold(one.type, one.entries.ids.ids(positions)):
            raise RepositoryError("not all that is needed was stored anew; nothing was removed")
    return new.count


def _move(
    plan: PrunePlan, one: MarkedEntries, positions: Array, writer: BlobWriter, advance: Callable[[int], None]
) -> None:
    def move(pack: tuple[int, list[PackedBlob]]) -> None:
        number, blobs = pack

        def save(_: int, plain: Data) -> None:
            writer.save(one.type, plain)
            advance(1)

        plan.store.load_many(number, blobs, save)

    with Workers(move, threads=min(plan.store.connections, MAX_REPACKERS), name="repack") as workers:
        for pack in by_pack(one.entries, positions, one.type):
            workers.put(pack)


class _NewPacks:
    """What was stored and is in an index."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()  # guards both
        self._ids = {blob_type: bytearray() for blob_type in BlobType}

    def add(self, _: bytes, blobs: list[PackedBlob]) -> None:
        with self._lock:
            self.count += 1
            for blob in blobs:
                self._ids[blob.type] += blob.id

    def hold(self, blob_type: BlobType, ids: bytes) -> bool:
        found, _ = SortedIds.of(bytes(self._ids[blob_type]))
        return bool((found.positions(ids) >= 0).all())


def _pack(pack_id: bytes) -> Handle:
    return Handle(FileType.PACK, pack_id.hex())
