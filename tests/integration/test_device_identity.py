"""A storage that shows another volume's device than was asked for: nothing of it is read or written, nothing stays."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest, list_all

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault


@pytest.fixture
def mistaken(devcloud: Devcloud, tenant: Tenant) -> Iterator[str]:
    """A volume whose device is shown for every other's."""
    other = tenant.make("other")
    tenant.write(other, {MIB: os.urandom(2 * MIB)})
    devcloud.set_faults(Fault("initialize_connection", "mistake", instead=other))
    yield other
    devcloud.set_faults()


def test_a_backup_does_not_take_another_volumes_device_for_the_clones(
    agent: Agent, tenant: Tenant, mistaken: str
) -> None:
    volume = tenant.make("wanted")
    ran = agent("backup", "--single-volume-id", volume)
    assert (ran.code, agent.snapshot_ids()) == (1, [])
    assert f"the storage showed {tenant.file(mistaken)}" in ran.error
    tenant.assert_tidy()


def test_a_restore_in_place_writes_nothing_to_another_volumes_device(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, mistaken: str
) -> None:
    volume = tenant.make("wanted")
    devcloud.set_faults()
    tenant.write(volume, {0: os.urandom(2 * MIB)})
    agent.back_up(volume)
    tenant.write(volume, {0: os.urandom(MIB)})
    before = [digest(tenant.file(each)) for each in (volume, mistaken)]
    devcloud.set_faults(Fault("initialize_connection", "mistake", instead=mistaken))

    ran = agent("restore", "--single-volume-id", volume, "--in-place")

    assert ran.code == 1
    assert f"asked for volume {volume}, the storage showed {tenant.file(mistaken)}" in ran.error
    assert [digest(tenant.file(each)) for each in (volume, mistaken)] == before
    assert list_all(tenant.api, "/attachments") == []
    for snapshot in list_all(tenant.api, "/snapshots"):  # what a restore in place keeps, however it ends
        tenant.api.remove("snapshot", snapshot["id"])
    tenant.assert_tidy()
