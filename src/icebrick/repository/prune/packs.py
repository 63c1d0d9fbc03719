"""What is needed of each pack, and so: keep it, repack it, or remove it. Decides as restic's prune does.

Of a blob that lies in several packs one copy counts as needed: one beside other needed blobs, if there is such a pack.
Arrays are indexed by the number of the pack in the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icebrick.repository import packer
from icebrick.repository.ids import BlobType
from icebrick.repository.index.sortedids import Array
from icebrick.repository.pack import COMPRESSED_ENTRY_SIZE, PLAIN_ENTRY_SIZE, header_size
from icebrick.repository.prune.marks import MarkedEntries

FEW_SMALL_PACKS = 10
"""Fewer are not worth repacking; so a last small one is not repacked for ever."""
COMPRESSIBLE = 512
"""Trees from this many bytes on always become smaller; of tiny ones that are stored as they are, nothing is gained."""
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class PackUse:
    """How much of each pack is needed; sizes in bytes. A pack's header counts as needed."""

    needed_blobs: Array
    needed_size: Array
    other_blobs: Array
    other_size: Array
    holds_data: Array
    holds_trees: Array
    compressible: Array
    """Whether a tree in it was stored before there was compression."""

    @property
    def size(self) -> Array:
        """How long each pack must be by the index."""
        return self.needed_size + self.other_size

    @property
    def blobs(self) -> Array:
        return self.needed_blobs + self.other_blobs


@dataclass(frozen=True, slots=True)
class Limits:
    """What a prune may leave and may do; sizes in bytes, None: any."""

    max_unused: int | None
    max_repack: int | None
    repack_small: bool = False
    trees_only: bool = False


def pack_use(marked: Sequence[MarkedEntries], needed: Sequence[Array], packs: int) -> PackUse:
    """From the entries of each type, and which of them are needed (see `needed_copies`)."""
    counts = {name: np.zeros(packs, dtype=np.int64) for name in ("needed", "needed_size", "other", "other_size")}
    holds = {one.type: np.zeros(packs, dtype=bool) for one in marked}
    compressible = np.zeros(packs, dtype=bool)
    for one, mask in zip(marked, needed, strict=True):
        for start in range(0, len(mask), _AT_ONCE):
            part = one.entries.records[start : start + _AT_ONCE]
            chosen = mask[start : start + _AT_ONCE]
            for records, name in ((part[chosen], "needed"), (part[~chosen], "other")):
                counts[name] += np.bincount(records["pack"], minlength=packs)
                counts[f"{name}_size"] += _sums(records["pack"], records["length"], packs)
            plain = part["uncompressed"] == 0
            headers = np.where(plain, PLAIN_ENTRY_SIZE, COMPRESSED_ENTRY_SIZE)
            counts["needed_size"] += _sums(part["pack"], headers, packs)
            holds[one.type][part["pack"]] = True
            if one.type is BlobType.TREE:
                compressible[part["pack"][plain & (part["length"] >= COMPRESSIBLE)]] = True
    in_index = counts["needed"] + counts["other"] > 0
    return PackUse(
        counts["needed"],
        counts["needed_size"] + in_index * header_size(0),
        counts["other"],
        counts["other_size"],
        holds[BlobType.DATA],
        holds[BlobType.TREE],
        compressible,
    )


def _sums(packs: Array, values: Array, count: int) -> Array:
    return np.bincount(packs, weights=values, minlength=count).astype(np.int64)  # exact below 2^53


def needed_copies(marked: Sequence[MarkedEntries], packs: int) -> list[Array]:
    """Of each type, which entries are needed: of each used blob just one."""
    alone = [one.used & ~one.has_copies() for one in marked]
    in_pack = sum(
        (
            np.bincount(one.entries.records["pack"][mask], minlength=packs)
            for one, mask in zip(marked, alone, strict=True)
        ),
        np.zeros(packs, dtype=np.int64),
    )
    for one, mask in zip(marked, alone, strict=True):
        for position in np.flatnonzero(one.has_copies() & one.used & one.entries.first):
            copies = one.entries.copies(int(position))
            numbers = one.entries.records["pack"][copies]
            beside = np.flatnonzero(in_pack[numbers] > 0)
            chosen = int(beside[0]) if len(beside) else len(numbers) - 1
            mask[copies.start + chosen] = True
            in_pack[numbers[chosen]] += 1
    return alone


@dataclass(frozen=True, slots=True)
class Decision:
    """Of the stored packs of the index: which to repack, and which to remove without."""

    repack: Array
    remove: Array


def decide(use: PackUse, stored: Array, limits: Limits) -> Decision:
    """Only packs that are stored are in either."""
    target = packer.PACK_SIZE // 5 * 4 if limits.repack_small else packer.PACK_SIZE // 25
    remove = stored & (use.needed_blobs == 0)
    only_data = use.holds_data & ~use.holds_trees
    mixed = use.holds_data & use.holds_trees
    candidates = stored & ~remove
    if limits.trees_only:
        candidates &= ~only_data
    whole = candidates & (use.other_blobs == 0) & ~mixed & ~use.compressible
    small = whole & (use.size < target)
    candidates &= ~whole
    if np.count_nonzero(small) >= FEW_SMALL_PACKS:
        candidates |= small
    repack = np.zeros(len(stored), dtype=bool)
    left, repacked = int(use.other_size[stored & ~remove].sum()), 0
    for number in _most_wasteful_first(np.flatnonzero(candidates), use, only_data, target):
        size = int(use.size[number])
        if limits.max_repack is not None and repacked + size >= limits.max_repack:
            continue
        enough = limits.max_unused is None or left < limits.max_unused
        if only_data[number] and enough and size >= target:
            continue
        repack[number] = True
        repacked += size
        left -= int(use.other_size[number])
    return Decision(repack, remove)


def _most_wasteful_first(numbers: Array, use: PackUse, only_data: Array, target: int) -> list[int]:
    """Packs with trees, then small ones, then those of which the largest share is not needed."""
    share = use.other_size[numbers] / use.size[numbers]
    order = np.lexsort((-share, use.size[numbers] >= target, only_data[numbers]))
    return [int(number) for number in numbers[order]]
