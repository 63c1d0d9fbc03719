"""Backing up several volumes at once: each is complete or a failure of its own, and nothing is left in the cloud."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.unit.workflow.conftest import World

from icebrick.attach.base import HostDevice
from icebrick.backend.base import FileType
from icebrick.connection import ConnectionInfo
from icebrick.encryption import VolumeKey
from icebrick.errors import AttachError, CloudError, CloudUnavailableError
from icebrick.progress import Progress, Task
from icebrick.testing.fakeconnector import FakeConnector
from icebrick.testing.faultplan import FaultPlan
from icebrick.workflow.parallel import Capacity, new_capacity
from icebrick.workflow.report import BackupReport

PATIENCE = 20.0  # seconds; only a test that fails waits so long
MIB = 1 << 20


@pytest.fixture
def contents() -> list[bytes]:
    """Of eight volumes; each has data of its own, and some that the next one has too."""
    return [random.Random(n + 100).randbytes(MIB) + random.Random(n // 2).randbytes(MIB) for n in range(8)]


@pytest.fixture
def volumes(world: World, contents: list[bytes]) -> dict[str, bytes]:
    return {world.make_volume(content).id: content for content in contents}


def capacity(jobs: int) -> Capacity:
    return new_capacity(jobs, threads=2)


def assert_restorable(world: World, report: BackupReport, contents: dict[str, bytes]) -> None:
    for backup in report.backups:
        volume_id = backup.path.rpartition("/")[2]
        assert world.content(world.restore(volume_id).volume_id) == contents[volume_id]


def test_all_are_complete_in_the_order_they_were_named_in(world: World, volumes: dict[str, bytes]) -> None:
    before = world.resources()
    report = world.back_up(*volumes, capacity=capacity(4))
    assert [backup.path for backup in report.backups] == [f"/cinder/{volume_id}" for volume_id in volumes]
    assert world.resources() == before
    assert_restorable(world, report, volumes)


def test_what_volumes_share_is_stored_once_and_counted_once(world: World, volumes: dict[str, bytes]) -> None:
    report = world.back_up(*volumes, capacity=capacity(8))
    data = sum(backup.bytes_new // MIB for backup in report.backups)
    assert data == 8 + 4 + 1 + 8  # and a block of zeros, and eight


def test_with_a_quota_for_one_clone_the_volumes_wait_for_each_other(world: World, volumes: dict[str, bytes]) -> None:
    world.cloud.records.quota = len(volumes) + 2  # one volume snapshot and one clone
    report = world.back_up(*volumes, capacity=capacity(8))
    assert len(report.backups) == len(volumes)
    assert report.failures == ()


def test_a_quota_that_is_too_small_even_for_one_is_a_failure_of_each(world: World, volumes: dict[str, bytes]) -> None:
    before = world.resources()
    world.cloud.records.quota = len(volumes) + 1
    report = world.back_up(*volumes, capacity=capacity(8))
    assert [failure.volume_id for failure in report.failures] == list(volumes)
    assert world.resources() == before


@pytest.mark.parametrize("seed", range(10))
def test_whatever_fails_every_volume_is_complete_or_a_failure_and_what_is_left_is_told(
    world: World, volumes: dict[str, bytes], seed: int
) -> None:
    chance, before = random.Random(seed), world.resources()
    calls = ("create_snapshot", "create_clone", "create_attachment", "connect_attachment", "delete_attachment")
    for _ in range(3):
        error = CloudUnavailableError("no answer")
        world.cloud.faults.fail(chance.choice(calls), error, after=chance.random() < 0.5, skip=chance.randrange(8))
    world.connector.faults.fail("open_device", AttachError("no device"), skip=chance.randrange(8))
    report = world.back_up(*volumes, capacity=capacity(4))
    assert len(report.backups) + len(report.failures) == len(volumes)
    assert len(world.snapshots()) == len(report.backups)
    world.cloud.faults, world.connector.faults = FaultPlan(), FaultPlan()
    world.back_up(next(iter(volumes)))  # the next run removes what could not be
    assert world.resources() == before
    assert_restorable(world, report, volumes)


class StoppingConnector(FakeConnector):
    """When `at` devices are open, the run is asked to end."""

    def __init__(self, world: World, stop: Capacity, at: int) -> None:
        super().__init__(world.cloud.records, "fakehost")
        self._capacity = stop
        self._open = threading.Barrier(at)

    @contextmanager
    def open_device(self, info: ConnectionInfo, *, size: int, key: VolumeKey | None = None) -> Iterator[HostDevice]:
        with super().open_device(info, size=size, key=key) as device:
            self._open.wait(PATIENCE)
            self._capacity.stop.ask()
            yield device


def test_a_run_that_is_asked_to_end_leaves_nothing_and_tells_of_each_volume(
    world: World, volumes: dict[str, bytes]
) -> None:
    host, before = capacity(3), world.resources()
    object.__setattr__(world, "connector", StoppingConnector(world, host, at=3))
    report = world.back_up(*volumes, capacity=host)
    assert report.interrupted
    assert [failure.volume_id for failure in report.failures] == list(volumes)[:3]
    assert {failure.message for failure in report.failures} == {"interrupted"}
    assert report.not_begun == tuple(volumes)[3:]
    assert world.resources() == before
    assert world.connector.connected == set()
    assert world.snapshots() == []


class NamesOfTasks(Progress):
    """Notes which tasks there were."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @contextmanager
    def task(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        self.names.append(name)
        yield self

    def advance(self, amount: int) -> None:
        pass

    def set_total(self, total: int) -> None:
        pass


def test_progress_tells_of_which_volume_it_is(world: World, volumes: dict[str, bytes]) -> None:
    told = NamesOfTasks()
    one, *_ = volumes
    world.back_up(one, progress=told)
    assert told.names == ["read"]
    told.names.clear()
    world.back_up(*volumes, progress=told)
    assert told.names == ["volumes", *(f"disk {volume_id[:8]}: read" for volume_id in volumes)]


def test_an_index_file_that_cannot_be_stored_fails_the_volumes_at_work_and_no_other(
    world: World, volumes: dict[str, bytes]
) -> None:
    save, failed = world.backend.save, []

    def save_or_fail(handle: object, data: object) -> None:
        if getattr(handle, "type", None) is FileType.INDEX and not failed:
            failed.append(handle)
            raise CloudError("no room")
        save(handle, data)  # type: ignore[arg-type]

    world.backend.save = save_or_fail  # type: ignore[method-assign]
    report = world.back_up(*volumes, capacity=capacity(2))
    assert 1 <= len(report.failures) <= 2
    assert {failure.message for failure in report.failures} == {"no room"}
    assert_restorable(world, report, volumes)
