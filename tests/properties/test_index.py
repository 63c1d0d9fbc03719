"""The index against a dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from icebrick.errors import CorruptDataError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.ids import BlobType
from icebrick.repository.index.index import Index

# few heads and few tails, so that ids clash in either and come again
IDS = st.tuples(st.sampled_from([bytes(8), b"\x80" * 8, b"\xff" * 8]), st.integers(0, 12)).map(
    lambda parts: parts[0] + bytes(23) + bytes([parts[1]])
)
UINT32 = st.integers(0, 2**32 - 1)
BLOBS = st.builds(PackedBlob, st.sampled_from(BlobType), IDS, UINT32, st.integers(32, 2**32 - 1), UINT32)


class IndexMachine(RuleBasedStateMachine):
    """Adds packs and asks; every answer must be one of those that were told."""

    def __init__(self) -> None:
        super().__init__()
        self.index = Index()
        self.told: dict[tuple[BlobType, bytes], list[tuple[bytes, PackedBlob]]] = {}
        self.packs: list[bytes] = []

    @rule(blobs=st.lists(BLOBS, max_size=8))
    def add_pack(self, blobs: list[PackedBlob]) -> None:
        pack = len(self.packs).to_bytes(32, "big")
        self.index.add_pack(pack, blobs)
        self.packs.append(pack)
        for blob in blobs:
            self.told.setdefault((blob.type, blob.id), []).append((pack, blob))

    @rule(blob_type=st.sampled_from(BlobType), blob_id=IDS)
    def find(self, blob_type: BlobType, blob_id: bytes) -> None:
        found = self.index.find(blob_type, blob_id)
        told = self.told.get((blob_type, blob_id))
        assert found is None if told is None else found in told

    @rule(ids=st.lists(IDS, max_size=12))
    def places(self, ids: list[bytes]) -> None:
        missing = [blob_id for blob_id in ids if (BlobType.DATA, blob_id) not in self.told]
        if missing:
            with pytest.raises(CorruptDataError, match=f"{len(missing)} blobs are in no index.*{missing[0].hex()}"):
                self.index.places(b"".join(ids))
            return
        places = self.index.places(b"".join(ids))
        for number, blob_id in enumerate(ids):
            found = (self.index.pack_id(int(places.packs[number])), places.blob(number, blob_id))
            assert found == self.index.find(BlobType.DATA, blob_id)
            assert int(places.sizes[number]) == found[1].size

    @rule()
    def freeze(self) -> None:
        """What is asked for many at once puts what is pending into a run."""
        self.index.places(b"")

    @invariant()
    def packs_are_kept(self) -> None:
        assert list(self.index.packs()) == self.packs


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@given(st.lists(st.lists(BLOBS, max_size=8), max_size=12))
def test_it_does_not_matter_how_many_runs_there_are(packs: list[list[PackedBlob]]) -> None:
    one_run, many_runs = Index(), Index()
    for number, blobs in enumerate(packs):
        one_run.add_pack(number.to_bytes(32, "big"), blobs)
        many_runs.add_pack(number.to_bytes(32, "big"), blobs)
        many_runs.places(b"")
    for blob in (blob for blobs in packs for blob in blobs):
        assert (one_run.find(blob.type, blob.id) is None) == (many_runs.find(blob.type, blob.id) is None)
