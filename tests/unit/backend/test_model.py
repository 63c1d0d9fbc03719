"""Whatever is saved, removed and read in whatever order: a backend behaves as a dictionary does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.wrap.dryrun import DryRunBackend
from icebrick.backend.wrap.retry import RetryBackend, RetryPolicy, RetryTime
from icebrick.errors import FileMissingError, ShortReadError
from icebrick.testing.faults import FaultyBackend, Kind, random_faults

# Few names in few types, so that steps meet.
handles = st.sampled_from(
    [
        Handle(FileType.CONFIG),
        *(Handle(kind, digit * 64) for kind in (FileType.PACK, FileType.LOCK) for digit in "ab"),
    ]
)
contents = st.binary(max_size=40)


class Model(RuleBasedStateMachine):
    """Subclasses give the backend."""

    def __init__(self):
        super().__init__()
        self.files = {}
        self.backend = self.open()

    def open(self):
        return MemoryBackend()

    @rule(handle=handles, content=contents)
    def save(self, handle, content):
        self.backend.save(handle, content)
        self.files[handle] = content

    @rule(handle=handles)
    def remove(self, handle):
        self.backend.remove(handle)
        self.files.pop(handle, None)

    @rule(handle=handles, offset=st.integers(0, 50), length=st.none() | st.integers(0, 50))
    def load(self, handle, offset, length):
        content = self.files.get(handle)
        end = max(offset, len(content or b"")) if length is None else offset + length
        if content is None:
            with pytest.raises(FileMissingError):
                self.backend.load(handle, offset=offset, length=length)
        elif end > len(content):
            with pytest.raises(ShortReadError):
                self.backend.load(handle, offset=offset, length=length)
        else:
            assert self.backend.load(handle, offset=offset, length=length) == content[offset:end]

    @invariant()
    def listings_have_just_what_was_saved(self):
        found = [info for kind in FileType for info in self.backend.list_files(kind)]
        assert sorted(found, key=str) == sorted(
            (FileInfo(handle, len(content)) for handle, content in self.files.items()), key=str
        )


class LocalModel(Model):
    def open(self):
        self.directory = tempfile.TemporaryDirectory()
        return LocalBackend(Path(self.directory.name))

    def teardown(self):
        self.directory.cleanup()


class DryRunModel(Model):
    """Over a medium that has files already."""

    def open(self):
        medium = MemoryBackend()
        for handle in (Handle(FileType.CONFIG), Handle(FileType.PACK, "a" * 64)):
            medium.save(handle, b"before")
            self.files[handle] = b"before"
        return DryRunBackend(medium)


class RetryModel(Model):
    """Over a medium on which a third of the calls fail, some after they took effect."""

    def open(self):
        plan = random_faults(11, rate=0.3, calls=2000, kinds=(Kind.BEFORE, Kind.AFTER))
        policy = RetryPolicy(attempts=50, patience=float("inf"))
        return RetryBackend(FaultyBackend(MemoryBackend(), plan), policy, RetryTime(sleep=lambda _: None))


FEW = settings(max_examples=25, stateful_step_count=20, deadline=None)

TestMemory, TestLocal, TestDryRun, TestRetry = (one.TestCase for one in (Model, LocalModel, DryRunModel, RetryModel))
TestMemory.settings = TestLocal.settings = TestDryRun.settings = TestRetry.settings = FEW
