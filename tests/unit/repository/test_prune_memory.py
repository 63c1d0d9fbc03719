"""How much memory a prune's plan takes for a blob and for a pack, beside the index."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.index.columns import IndexColumns
from icebrick.repository.index.index import Index
from icebrick.repository.prune.marks import MarkedEntries
from icebrick.repository.prune.packs import Limits, decide, needed_copies, pack_use

BLOBS = 1 << 18
IN_PACK = 16
PACKS = BLOBS // IN_PACK


def test_a_plan_takes_few_bytes_for_each_blob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.repository.prune.marks._AT_ONCE", 1000 * ID_SIZE)
    monkeypatch.setattr("icebrick.repository.prune.packs._AT_ONCE", 1000)
    chance = np.random.default_rng(1)
    ids = chance.bytes(BLOBS * ID_SIZE)
    index = Index()
    index.add_columns(
        IndexColumns(
            pack_ids=[number.to_bytes(ID_SIZE, "big") for number in range(PACKS)],
            ids=ids,
            trees=np.zeros(BLOBS, dtype=bool),
            packs=np.repeat(np.arange(PACKS, dtype=np.uint32), IN_PACK),
            offsets=np.tile(np.arange(IN_PACK, dtype=np.uint32) * 100_000, PACKS),
            lengths=np.full(BLOBS, 100_000, dtype=np.uint32),
            uncompressed=np.full(BLOBS, 200_000, dtype=np.uint32),
        )
    )
    entries = index.entries(BlobType.DATA)
    none = index.entries(BlobType.TREE)
    tracemalloc.start()
    marked = (
        MarkedEntries(BlobType.DATA, entries, np.zeros(BLOBS, dtype=bool)),
        MarkedEntries(BlobType.TREE, none, np.zeros(0, dtype=bool)),
    )
    marked[0].mark_all(ids[: len(ids) // 2])
    for one in marked:
        one.mark_copies()
    needed = needed_copies(marked, PACKS)
    use = pack_use(marked, needed, PACKS)
    decision = decide(use, np.ones(PACKS, dtype=bool), Limits(0, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.count_nonzero(decision.remove) == PACKS // 2
    assert not decision.repack.any()
    assert peak / BLOBS < 20  # about half of it for the packs
