"""What a prune would do: found out without changing anything.

Memory: the index, and not more than 20 bytes for each blob in it, where there are 16 in a pack.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from icebrick.backend.base import FileType
from icebrick.errors import CorruptDataError
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.index.load import MENDING, IndexFile, load_index
from icebrick.repository.index.rewrite import files_to_rewrite
from icebrick.repository.index.sortedids import Array, SortedIds
from icebrick.repository.prune.marks import MarkedEntries, mark_used
from icebrick.repository.prune.packs import Limits, PackUse, decide, needed_copies, pack_use
from icebrick.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """How much may stay unused, as bytes or as a share of all (0 to 1); None: any amount. Sizes in bytes."""

    max_unused: int | float | None = 0.05
    max_repack: int | None = None
    repack_small: bool = False
    repack_trees_only: bool = False

    def limits(self, used: int) -> Limits:
        """In bytes, when so many are used."""
        unused = self.max_unused
        if isinstance(unused, float):
            unused = int(unused / (1 - unused) * used) if unused < 1 else None
        return Limits(unused, self.max_repack, self.repack_small, self.repack_trees_only)


@dataclass(frozen=True, slots=True)
class Amount:
    """So many blobs, of so many bytes as stored."""

    blobs: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class PruneFigures:
    """What a plan comes to.

    `duplicate` are needless copies of used blobs, `unused` the blobs no snapshot needs, `unreferenced` packs that no
    index names. `repack` is what is read and written anew, or left out of it (`repack_drop`); `remove` what goes with
    its packs.
    """

    used: Amount
    duplicate: Amount
    unused: Amount
    repack: Amount
    repack_drop: Amount
    remove: Amount
    unreferenced_bytes: int
    packs: int
    packs_to_repack: int
    packs_to_remove: int
    packs_unreferenced: int
    index_files_to_rewrite: int

    @property
    def freed_bytes(self) -> int:
        """Of blobs, and of packs that no index names; headers and index files not counted."""
        return self.repack_drop.bytes + self.remove.bytes + self.unreferenced_bytes

    @property
    def unused_after(self) -> int:
        """Bytes of blobs that nobody needs and that stay."""
        return self.duplicate.bytes + self.unused.bytes - self.repack_drop.bytes - self.remove.bytes


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """For one `execute_prune`, under the lock that it was made under. Arrays are by the number of the pack."""

    figures: PruneFigures
    store: BlobStore = field(repr=False)
    pack_ids: tuple[bytes, ...] = field(repr=False)
    kept: Array = field(repr=False)
    """Which packs stay in the index."""
    gone: Array = field(repr=False)
    """Which stored packs of the index are removed, when what is needed of them lies elsewhere."""
    move: tuple[tuple[MarkedEntries, Array], ...] = field(repr=False)
    """What is needed of them: positions of entries."""
    rewrite: tuple[IndexFile, ...] = field(repr=False)
    unreferenced: tuple[bytes, ...] = field(repr=False)


def plan_prune(
    repository: Repository,
    options: PruneOptions,
    progress: Progress = NO_PROGRESS,
    *,
    without: Collection[str] = (),
) -> PrunePlan:
    """Reads only. `without` are snapshots that are taken as gone: for a dry run of what forgets them first.

    CorruptDataError when a snapshot, a tree, an index file or a needed pack is damaged or missing: nothing may be
    removed then. Hold an exclusive lock to execute it; a shared one is enough to look at it.
    """
    roots = _roots(repository, frozenset(without))
    loaded = load_index(repository.backend, repository.key, progress)
    index = loaded.index
    store = BlobStore(repository.backend, repository.key, index)
    marked = mark_used(store, index, roots, progress)
    needed = needed_copies(marked, index.pack_count)
    use = pack_use(marked, needed, index.pack_count)
    pack_ids = tuple(index.packs())
    stored, unreferenced = _compare_with_stored(repository, pack_ids, use)
    used = _amount(zip(marked, needed, strict=True))
    decision = decide(use, stored, options.limits(used.bytes))
    gone = decision.remove | decision.repack
    kept = stored & ~gone & (index.first_numbers() == np.arange(index.pack_count))
    move = tuple((one, _to_move(one, mask, decision.repack, kept)) for one, mask in zip(marked, needed, strict=True))
    _prove_nothing_is_lost(marked, kept, move)
    rewrite = files_to_rewrite(loaded.files, kept)
    figures = PruneFigures(
        used=used,
        duplicate=_amount((one, one.used & ~mask) for one, mask in zip(marked, needed, strict=True)),
        unused=_amount((one, ~one.used) for one in marked),
        repack=Amount(int(use.blobs[decision.repack].sum()), int(use.size[decision.repack].sum())),
        repack_drop=_others(use, decision.repack),
        remove=_others(use, ~stored | decision.remove),
        unreferenced_bytes=sum(unreferenced.values()),
        packs=int(np.count_nonzero(stored)) + len(unreferenced),
        packs_to_repack=int(np.count_nonzero(decision.repack)),
        packs_to_remove=int(np.count_nonzero(decision.remove)),
        packs_unreferenced=len(unreferenced),
        index_files_to_rewrite=len(rewrite),
    )
    return PrunePlan(figures, store, pack_ids, kept, gone, move, rewrite, tuple(unreferenced))


def _roots(repository: Repository, without: frozenset[str]) -> bytes:
    """The trees of all snapshots. Before the index is read, so that it knows all they need."""
    roots: list[bytes] = []
    for snapshot_id in repository.snapshot_ids():
        if snapshot_id not in without:
            try:
                roots.append(repository.load_snapshot(snapshot_id).tree)
            except CorruptDataError as error:
                raise CorruptDataError(
                    f"{error}, and nobody knows what it needs",
                    hint="Nothing was removed. 'icebrick repair snapshots --forget' removes it, if it is lost.",
                ) from error
    return b"".join(roots)


def _compare_with_stored(
    repository: Repository, pack_ids: tuple[bytes, ...], use: PackUse
) -> tuple[Array, dict[bytes, int]]:
    """Which packs of the index are there; and those in no index, with their sizes in bytes."""
    listed, listed_sizes = bytearray(), array("q")
    for info in repository.backend.list_files(FileType.PACK):
        listed += bytes.fromhex(info.handle.name)
        listed_sizes.append(info.size)
    by_id, order = SortedIds.of(b"".join(pack_ids))
    places = by_id.positions(bytes(listed))
    unreferenced = {
        bytes(listed[number * ID_SIZE : (number + 1) * ID_SIZE]): listed_sizes[number]
        for number in np.flatnonzero(places < 0).tolist()
    }
    numbers = order[places[places >= 0]]
    sizes = np.zeros(len(pack_ids), dtype=np.int64)
    sizes[numbers] = np.array(listed_sizes)[places >= 0]
    stored = np.zeros(len(pack_ids), dtype=bool)
    stored[numbers] = True
    needed = use.needed_blobs > 0
    _refuse(pack_ids, needed & ~stored, "missing")
    _refuse(pack_ids, needed & stored & (sizes != use.size), "not as long as the index says")
    return stored, unreferenced


def _refuse(pack_ids: tuple[bytes, ...], wrong: Array, what: str) -> None:
    numbers = np.flatnonzero(wrong)
    if len(numbers):
        raise CorruptDataError(
            f"{len(numbers)} packs that snapshots need are {what}, the first is {pack_ids[numbers[0]].hex()}",
            hint=f"Nothing was removed. {MENDING}",
        )


def _to_move(one: MarkedEntries, needed: Array, repack: Array, kept: Array) -> Array:
    """Which of the needed entries lie in packs that are repacked, and have no copy in one that is kept."""
    packs = one.entries.records["pack"]
    positions = np.flatnonzero(needed & repack[packs])
    copied = positions[one.has_copies()[positions]]
    spared = [position for position in copied if kept[packs[one.entries.copies(int(position))]].any()]
    return np.setdiff1d(positions, np.array(spared, dtype=np.int64), assume_unique=True)


def _prove_nothing_is_lost(
    marked: Sequence[MarkedEntries], kept: Array, move: Sequence[tuple[MarkedEntries, Array]]
) -> None:
    """Of each used blob a copy is kept or moved. Should the reasoning above ever be wrong, it ends here."""
    for one, (_, positions) in zip(marked, move, strict=True):
        safe = kept[one.entries.records["pack"]]
        safe[positions] = True
        for position in np.flatnonzero(one.used & ~safe):
            if not safe[one.entries.copies(int(position))].any():
                raise AssertionError(
                    f"prune would lose {one.type.value} blob {one.entries.ids.ids(np.array([position])).hex()}"
                )


def _amount(chosen: Iterable[tuple[MarkedEntries, Array]]) -> Amount:
    blobs = size = 0
    for one, mask in chosen:
        blobs += int(np.count_nonzero(mask))
        size += int(one.entries.records["length"].sum(where=mask, dtype=np.int64))
    return Amount(blobs, size)


def _others(use: PackUse, packs: Array) -> Amount:
    """What is not needed of these packs."""
    return Amount(int(use.other_blobs[packs].sum()), int(use.other_size[packs].sum()))
