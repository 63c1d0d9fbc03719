"""Takes damaged packs out of the repository, and keeps the blobs in them that are whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from icebrick.backend.base import FileType, Handle
from icebrick.errors import CorruptDataError, RepositoryError
from icebrick.parallel import Pool, Workers
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blob import BlobDecoder
from icebrick.repository.check.packs import MAX_PACK_SIZE, MAX_READERS
from icebrick.repository.check.report import DAMAGE
from icebrick.repository.ids import BlobType
from icebrick.repository.index.load import LoadedIndex, load_index
from icebrick.repository.index.rewrite import EntriesOfPack, remove_files, rewritten, save_index_files
from icebrick.repository.index.sortedids import Array
from icebrick.repository.pack import verify_pack
from icebrick.repository.repair.salvage import Salvaged, salvage
from icebrick.repository.repository import Repository
from icebrick.repository.unpacked import load_verified


@dataclass(frozen=True, slots=True)
class PackRepairPlan:
    """Damaged packs, and what is wrong with each."""

    damaged: Mapping[bytes, str]
    packs_read: int
    index: LoadedIndex = field(repr=False)


@dataclass(frozen=True, slots=True)
class PackRepair:
    """What was done. Of `blobs_lost` there is no whole copy anywhere; snapshots may need them."""

    packs_removed: int
    blobs_salvaged: int
    blobs_lost: int


def plan_repair_packs(
    repository: Repository, only: Collection[bytes] = (), progress: Progress = NO_PROGRESS
) -> PackRepairPlan:
    """Reads only: these packs, or all. RepositoryError when one of `only` is not there."""
    index = load_index(repository.backend, repository.key, progress)
    stored = {bytes.fromhex(info.handle.name): info.size for info in repository.backend.list_files(FileType.PACK)}
    for pack_id in only:
        if pack_id not in stored:
            raise RepositoryError(f"no pack {pack_id.hex()} in {repository.backend.location}")
    chosen = sorted(only or stored)
    damaged: dict[bytes, str] = {}
    decoders = Pool(lambda: BlobDecoder(repository.key))
    with progress.task("read packs", total=sum(stored[pack_id] for pack_id in chosen), unit="B") as task:

        def read(pack_id: bytes) -> None:
            try:
                with decoders.borrow() as decoder:
                    _prove(repository, pack_id, stored[pack_id], decoder)
            except DAMAGE as error:
                damaged[pack_id] = str(error)
            task.advance(stored[pack_id])

        with Workers(read, threads=min(repository.backend.connections, MAX_READERS), name="packs") as workers:
            for pack_id in chosen:
                workers.put(pack_id)
    return PackRepairPlan(dict(sorted(damaged.items())), len(chosen), index)


def _prove(repository: Repository, pack_id: bytes, size: int, decoder: BlobDecoder) -> None:
    handle = Handle(FileType.PACK, pack_id.hex())
    if size > MAX_PACK_SIZE:
        raise CorruptDataError(f"{handle} has {size} bytes, more than any pack")
    pack = load_verified(repository.backend, handle)
    try:
        verify_pack(repository.key, decoder, memoryview(pack))
    except CorruptDataError as error:
        raise CorruptDataError(f"{handle} is damaged: {error}") from error


def execute_repair_packs(repository: Repository, plan: PackRepairPlan, progress: Progress = NO_PROGRESS) -> PackRepair:
    """Under the exclusive lock that the plan was made under. What is whole is stored anew before anything goes."""
    if not plan.damaged:
        return PackRepair(0, 0, 0)
    backend, key = repository.backend, repository.key
    kept = np.array([pack_id not in plan.damaged for pack_id in plan.index.index.packs()], dtype=bool)
    files = [file for file in plan.index.files if not kept[file.packs.start : file.packs.stop].all()]
    remembered: dict[bytes, list[EntriesOfPack]] = {pack_id: [] for pack_id in plan.damaged}
    for pack in rewritten(backend, key, files, ~kept):
        remembered[pack[0]].append(pack)
    salvaged = salvage(repository, plan.damaged, remembered)
    lost = _lost(plan, salvaged, kept)
    save_index_files(backend, key, rewritten(backend, key, files, kept, progress))
    remove_files(backend, [file.handle for file in files], "remove old index files", progress)
    damaged = [Handle(FileType.PACK, pack_id.hex()) for pack_id in plan.damaged]
    remove_files(backend, damaged, "remove damaged packs", progress)
    return PackRepair(len(damaged), salvaged.blobs, lost)


def _lost(plan: PackRepairPlan, salvaged: Salvaged, kept: Array) -> int:
    """How many blobs of the damaged packs are nowhere else."""
    index, lost = plan.index.index, 0
    for blob_type in BlobType:
        entries = index.entries(blob_type)
        elsewhere = kept[entries.records["pack"]]
        for found_type, blob_id in salvaged.lost:
            if found_type is blob_type and not elsewhere[entries.copies_of(blob_id)].any():
                lost += 1
    return lost
