"""The repository against a dictionary of what was saved, over runs that end well or are killed."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from icebrick.backend.base import FileType
from icebrick.repository import packer, packwriter
from icebrick.repository.blob import BlobDecoder
from icebrick.repository.blobstore import load_blobstore
from icebrick.repository.crypto import new_key
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.pack import verify_pack
from icebrick.testing.faults import Death, DyingBackend
from icebrick.testing.repositories import empty_repository

TYPES = st.sampled_from(BlobType)
NOISE = [random.Random(seed).randbytes(size) for seed, size in enumerate((900, 2500, 2500, 3000, 5000))]
CONTENTS = [*NOISE, b"", b"x", bytes(3000), bytes(40_000)]


def content(number: int) -> bytes:
    """One of few, so that they come again; most fill a pack."""
    return CONTENTS[number]


BLOBS = st.integers(0, len(CONTENTS) - 1).map(content)
KEY = new_key()


class RepositoryMachine(RuleBasedStateMachine):
    """What a run promised is there for every later run; what a killed one left harms none."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(packer, "PACK_SIZE", 2 << 10)
        self.patch.setattr(packwriter, "INDEX_BLOBS", 6)
        self.medium = empty_repository(KEY)
        self.store = load_blobstore(self.medium, KEY)
        self.promised: dict[tuple[BlobType, bytes], bytes] = {}

    def teardown(self) -> None:
        self.patch.undo()

    @rule(wanted=st.lists(st.tuples(TYPES, BLOBS), max_size=8))
    def run_to_the_end(self, wanted: list[tuple[BlobType, bytes]]) -> None:
        with self.store.writer() as writer:
            for blob_type, data in wanted:
                assert writer.save(blob_type, data) == digest(data)
        self.promised |= {(blob_type, digest(data)): data for blob_type, data in wanted}

    @rule(wanted=st.lists(st.tuples(TYPES, BLOBS), max_size=8))
    def run_that_fails(self, wanted: list[tuple[BlobType, bytes]]) -> None:
        with pytest.raises(ZeroDivisionError), self.store.writer() as writer:
            for blob_type, data in wanted:
                writer.save(blob_type, data)
            raise ZeroDivisionError

    @rule(wanted=st.lists(st.tuples(TYPES, BLOBS), max_size=8), at=st.integers(1, 4), effective=st.booleans())
    def run_that_is_killed(self, wanted: list[tuple[BlobType, bytes]], at: int, *, effective: bool) -> None:
        dying = DyingBackend(self.medium, at=at, effective=effective)
        try:
            with load_blobstore(dying, KEY).writer() as writer:
                for blob_type, data in wanted:
                    writer.save(blob_type, data)
        except Death:
            return
        self.promised |= {(blob_type, digest(data)): data for blob_type, data in wanted}

    @rule()
    def begin_anew(self) -> None:
        self.store = load_blobstore(self.medium, KEY)

    @invariant()
    def what_was_promised_is_stored_and_indexed(self) -> None:
        found = load_blobstore(self.medium, KEY)
        for (blob_type, blob_id), data in self.promised.items():
            assert found.load(blob_type, blob_id) == data
            assert found.size(blob_type, blob_id) == len(data)

    @invariant()
    def every_pack_is_whole(self) -> None:
        for info in self.medium.list_files(FileType.PACK):
            pack = self.medium.load(info.handle)
            assert digest(pack).hex() == info.handle.name
            verify_pack(KEY, BlobDecoder(KEY), memoryview(pack))


TestRepositoryMachine = RepositoryMachine.TestCase
TestRepositoryMachine.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)
