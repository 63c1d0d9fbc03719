"""Every backend and every wrapper does what a backend must."""

from __future__ import annotations

import pytest

from icebrick.backend.base import BackendWrapper
from icebrick.backend.kept import open_kept
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.wrap.cache import CacheBackend
from icebrick.backend.wrap.dryrun import DryRunBackend
from icebrick.backend.wrap.limit import LimitBackend, TokenBucket
from icebrick.backend.wrap.log import LogBackend
from icebrick.backend.wrap.retry import RetryBackend, RetryPolicy, RetryTime
from icebrick.testing.backend_contract import BackendContract, DirectoryBackendContract
from icebrick.testing.faults import DyingBackend, Fault, FaultyBackend, Kind, Op, random_faults

pytestmark = pytest.mark.damages_repository("to a backend, files are mere bytes")


class TestLocal(DirectoryBackendContract):
    @pytest.fixture
    def backend(self, tmp_path):
        backend = LocalBackend(tmp_path / "repository")
        backend.create()
        yield backend
        backend.close()

    @pytest.fixture
    def plant(self, tmp_path):
        def plant(path, content):
            where = tmp_path / "repository" / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(content)

        return plant


class TestLocalWithoutSubdirectories(BackendContract):
    """As other programs leave a repository when they copy no empty directories."""

    @pytest.fixture
    def backend(self, tmp_path):
        backend = LocalBackend(tmp_path)
        yield backend
        backend.close()


class TestMemory(BackendContract):
    @pytest.fixture
    def backend(self):
        return MemoryBackend()


class TestPlainWrapper(BackendContract):
    @pytest.fixture
    def backend(self):
        return BackendWrapper(MemoryBackend())


class TestLog(BackendContract):
    @pytest.fixture
    def backend(self):
        return LogBackend(MemoryBackend())


class TestLimit(BackendContract):
    """One connection, so that any call made while another is held would hang."""

    @pytest.fixture
    def backend(self):
        bucket = TokenBucket(1 << 40)
        return LimitBackend(MemoryBackend(), connections=1, upload=bucket, download=bucket)


class TestCache(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path):
        return CacheBackend(MemoryBackend(), open_kept(tmp_path, "mem:", 1 << 30))


class TestDryRun(BackendContract):
    @pytest.fixture
    def backend(self):
        return DryRunBackend(MemoryBackend())


class TestNothingFaulty(BackendContract):
    @pytest.fixture
    def backend(self):
        return FaultyBackend(MemoryBackend(), [])


class TestImmortal(BackendContract):
    @pytest.fixture
    def backend(self):
        return DyingBackend(MemoryBackend())


class TestRetryRoundABadMedium(BackendContract):
    """A fifth of all calls fail; the config's torn writes and wrong answers are beyond what a retry can mend."""

    @pytest.fixture
    def backend(self):
        kinds = (Kind.BEFORE, Kind.AFTER)
        listing = [Fault(Op.LIST, call, Kind.TORN) for call in range(1, 300, 2)]
        plan = [
            *(fault for fault in random_faults(7, rate=0.2, calls=300, kinds=kinds) if fault.op is not Op.LIST),
            *listing,
        ]
        policy = RetryPolicy(attempts=20, patience=float("inf"))
        return RetryBackend(FaultyBackend(MemoryBackend(), plan), policy, RetryTime(sleep=lambda _: None))
