"""What Cinder and its storage can do to a backup or a restore: told, and nothing is left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest, quota
from tests.ran import Ran

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault

ON_THE_WAY_IN = ["create_snapshot", "create_volume_from_snapshot", "initialize_connection"]
ON_THE_WAY_OUT = ["terminate_connection", "delete_volume", "delete_snapshot"]


@pytest.fixture
def volume(agent: Agent, tenant: Tenant) -> str:
    volume_id = tenant.make()
    tenant.write(volume_id, {0: os.urandom(2 * MIB)})
    return volume_id


def assert_restores(agent: Agent, tenant: Tenant, volume: str, folder: Path) -> None:
    """The newest snapshot of the volume is what it still has."""
    agent.succeed("restore", "--single-volume-id", volume, "--target", folder / "proof.raw")
    assert digest(folder / "proof.raw") == digest(tenant.file(volume))


# Storage that fails


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", ON_THE_WAY_IN)
def test_a_backup_whose_storage_fails_on_the_way_in_is_told_and_leaves_nothing(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str, operation: str, when: Any
) -> None:
    devcloud.set_faults(Fault(operation, when=when, times=1))
    refused = agent("backup", "--single-volume-id", volume)
    assert refused.code == 1
    assert refused.error
    assert agent.snapshot_ids() == []
    tenant.assert_tidy()


@pytest.mark.parametrize("operation", ON_THE_WAY_OUT)
def test_a_backup_whose_storage_fails_to_clear_up_is_complete_and_an_administrator_is_called(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str, admin: Any, tmp_path: Path, operation: str
) -> None:
    devcloud.set_faults(Fault(operation))
    ran = agent.succeed("backup", "--single-volume-id", volume)
    assert "left behind in the cloud; 'icebrick cleanup' removes that" in ran.err
    assert_restores(agent, tenant, volume, tmp_path)

    devcloud.set_faults()
    reset(admin, tenant.resources() - tenant.volumes)
    cleaned = agent.succeed("cleanup")
    assert "removed volume" in cleaned.out
    tenant.assert_tidy()


def reset(admin: Any, leftovers: set[str]) -> None:
    """What the hint asks an administrator for."""
    for kind in ("volumes", "snapshots"):
        for resource in leftovers:
            admin.request("POST", f"/{kind}/{resource}/action", {"os-reset_status": {"status": "error"}})


@pytest.mark.parametrize("operation", ["create_volume_from_snapshot", "initialize_connection"])
def test_a_restore_onto_a_copy_whose_storage_fails_leaves_nothing(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str, tmp_path: Path, operation: str
) -> None:
    agent.back_up(volume)
    devcloud.set_faults(Fault(operation, times=1))
    assert agent("restore", "--single-volume-id", volume).error
    tenant.assert_tidy()
    assert_restores(agent, tenant, volume, tmp_path)


@pytest.mark.parametrize("operation", ["create_volume", "initialize_connection"])
def test_a_restore_to_a_new_volume_whose_storage_fails_leaves_nothing(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str, operation: str
) -> None:
    agent.back_up(volume)
    tenant.remove(volume)
    devcloud.set_faults(Fault(operation, times=1))
    assert agent("restore", "--single-volume-id", volume).error
    tenant.assert_tidy()


def test_the_other_volumes_are_backed_up_when_one_fails(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str
) -> None:
    other = tenant.make("other")
    devcloud.set_faults(Fault("create_snapshot", times=1))
    ran = agent("backup", "--json", "--single-volume-id", volume, "--single-volume-id", other)
    assert ran.code == 3
    report = ran.record()
    (failure,), (backup,) = report["failures"], report["backups"]
    assert {f"/cinder/{failure['volume_id']}", backup["path"]} == {f"/cinder/{volume}", f"/cinder/{other}"}
    assert "1 of 2 volumes were not backed up" in ran.err


# Volumes in states that forbid it


@pytest.mark.parametrize("status", ["error", "maintenance"])
def test_a_volume_in_a_state_that_forbids_it_is_told_with_the_state(
    agent: Agent, tenant: Tenant, volume: str, admin: Any, status: str
) -> None:
    set_status(admin, volume, status)
    refused = agent("backup", "--single-volume-id", volume)
    set_status(admin, volume, "available")
    assert refused.code == 1
    assert volume in refused.error
    assert status in refused.error
    tenant.assert_tidy()


def test_a_volume_that_is_being_deleted_is_told_so(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str
) -> None:
    held = Fault("delete_volume", "wait")
    devcloud.set_faults(held)
    assert tenant.api.request("DELETE", f"/volumes/{volume}")[0] == 202
    devcloud.wait_held(held)
    refused = agent("backup", "--single-volume-id", volume)
    devcloud.release(held)
    tenant.volumes.discard(volume)
    tenant.api.wait_gone(f"/volumes/{volume}")
    assert refused.code == 1
    assert volume in refused.error
    assert "deleting" in refused.error


def set_status(admin: Any, volume: str, status: str) -> None:
    assert admin.request("POST", f"/volumes/{volume}/action", {"os-reset_status": {"status": status}})[0] == 202


# Quota


@pytest.mark.parametrize(
    ("limits", "doing"),
    [
        ({"snapshots": 0}, "create a volume snapshot of volume"),
        ({"volumes": 1}, "create a clone of volume snapshot"),
        ({"gigabytes": 2}, "create a clone of volume snapshot"),
    ],
)
def test_a_used_up_quota_is_told_and_leaves_nothing(
    agent: Agent, tenant: Tenant, volume: str, admin: Any, limits: dict[str, int], doing: str
) -> None:
    with quota(admin, tenant, **limits):
        refused = agent("backup", "--single-volume-id", volume)
    assert refused.code == 1
    assert doing in refused.error
    assert "exceed" in refused.error.lower()
    assert "quota" in refused.hint
    tenant.assert_tidy()


# A cloud that goes away


def killed_during(devcloud: Devcloud, operation: str, command: Callable[[], Ran]) -> Ran:
    """Run the command; when the driver is in the operation, Cinder is killed."""
    fault = Fault(operation, "wait")
    devcloud.set_faults(fault)

    def kill() -> None:
        devcloud.wait_held(fault)
        devcloud.stop("cinder", kill=True)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        return command()
    finally:
        thread.join()
        devcloud.set_faults()
        devcloud.up(owned=True)


def test_a_cinder_killed_under_a_backup_is_told_and_what_is_left_is_removed_when_it_is_back(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str, tmp_path: Path
) -> None:
    agent.back_up(volume)
    refused = killed_during(devcloud, "initialize_connection", lambda: agent("backup", "--single-volume-id", volume))
    assert refused.code == 1
    assert "the connection broke off" in refused.error
    assert len(agent.snapshot_ids()) == 1

    assert "removed volume" in agent.succeed("cleanup").out
    tenant.assert_tidy()
    assert_restores(agent, tenant, volume, tmp_path)
