"""Volumes that are written one after the other: as a group they are backed up as of one moment, singly they are not."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.integration.agent import PASSWORD, Agent, Tenant
from tests.integration.groups import TenantGroup, make_group

from icebrick.backend.local import LocalBackend
from icebrick.progress import NO_PROGRESS
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.repository import open_repository
from icebrick.secret import Secret
from icebrick.workflow.images import load_images
from icebrick.workflow.points import volume_id_of

ROUNDS = 3
BLOCK = 4096


@pytest.fixture
def pair(agent: Agent, tenant: Tenant) -> Iterator[TenantGroup]:
    group = make_group(tenant, "pair")
    yield group
    group.remove()


@contextmanager
def counting(first: Path, second: Path) -> Iterator[None]:
    """A program that writes a number to the first device and then to the second, durably, and then the next number."""
    stop, begun = threading.Event(), threading.Event()

    def count() -> None:
        with mmap.mmap(-1, BLOCK) as block, ExitStack() as opened:
            devices = []
            for path in (first, second):
                devices.append(os.open(path, os.O_WRONLY | os.O_DIRECT))
                opened.callback(os.close, devices[-1])
            number = 0
            while not stop.is_set():
                number += 1
                block[:8] = number.to_bytes(8, "little")
                for device in devices:
                    os.pwrite(device, block, 0)
                    os.fsync(device)
                begun.set()

    thread = threading.Thread(target=count, name="counting")
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        stop.set()
        thread.join()


def differences(agent: Agent, first: str, second: str) -> list[int]:
    """How far the first was ahead of the second, in each pair of snapshots, oldest first."""
    numbers: dict[str, list[int]] = {first: [], second: []}
    images = load_images(open_repository(LocalBackend(agent.repository), Secret(PASSWORD)), NO_PROGRESS)
    for snapshot in sorted(images.snapshots, key=lambda snapshot: snapshot.time):
        block = images.store.load(BlobType.DATA, images.find(snapshot).content[:ID_SIZE])
        numbers[volume_id_of(snapshot) or ""].append(int.from_bytes(block[:8], "little"))
    return [ahead - behind for ahead, behind in zip(numbers[first], numbers[second], strict=True)]


def test_as_a_group_they_never_differ_by_more_than_one_and_singly_they_do(
    agent: Agent, tenant: Tenant, pair: TenantGroup
) -> None:
    first, second = pair.add("first"), pair.add("second")
    with (
        tenant.device(first) as first_device,
        tenant.device(second) as second_device,
        counting(first_device, second_device),
    ):
        for _ in range(ROUNDS):
            agent.succeed("backup", "--mode", "blocks", "--consistency-groups", pair.id)
        named = ("--single-volume-id", first, "--single-volume-id", second)
        agent.succeed("backup", "--mode", "blocks", "--parallel", "1", *named)
    *as_group, singly = differences(agent, first, second)
    assert set(as_group) <= {0, 1}
    assert abs(singly) > 1
