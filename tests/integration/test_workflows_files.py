"""Whole commands on a devcloud that exports volumes as files, and what needs no cloud's devices at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.agent import GIB, MIB, Agent, Tenant, allocated, digest
from tests.integration.conftest import running

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault
from icebrick.devcloud.record import Settings
from icebrick.testing.loopdevice import loop_device

COMMAND = Path(sys.executable).with_name("icebrick")


@pytest.fixture(scope="module")
def session_devcloud(devcloud_folder: Path, devcloud_environment: Path) -> Iterator[Devcloud]:
    """Another than the other tests use."""
    with running(devcloud_folder / "files", devcloud_environment, Settings(export="file")) as cloud:
        yield cloud


@pytest.fixture
def volume(tenant: Tenant) -> str:
    volume_id = tenant.make()
    tenant.write(volume_id, {MIB: os.urandom(3 * MIB), GIB - MIB: os.urandom(MIB)})
    return volume_id


def test_holes_of_a_volume_that_is_a_file_are_not_read_and_are_holes_again(
    agent: Agent, tenant: Tenant, volume: str
) -> None:
    report = agent.back_up(volume)
    assert report["mode_reason"] == "the storage shows this host a file, which cannot be mounted"
    assert report["bytes_read"] < 16 * MIB
    before = digest(tenant.file(volume))
    tenant.remove(volume)
    restored = tenant.adopt(agent.restore(volume, "--verify")["volume_id"])
    assert digest(tenant.file(restored)) == before
    assert allocated(tenant.file(restored)) < 16 * MIB


def test_an_existing_volume_that_is_a_file_is_restored_onto_a_copy(agent: Agent, tenant: Tenant, volume: str) -> None:
    agent.back_up(volume)
    before = digest(tenant.file(volume))
    tenant.write(volume, {2 * MIB: os.urandom(MIB), GIB // 2: os.urandom(MIB)})
    report = agent.restore(volume)
    copy = tenant.adopt(report["volume_id"])
    assert report["bytes_written"] == MIB
    assert digest(tenant.file(copy)) == before


def test_a_volume_is_restored_to_a_file_a_device_and_standard_output_without_its_cloud(
    agent: Agent, tenant: Tenant, volume: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.back_up(volume)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", "/nonexistent")
    wanted = digest(tenant.file(volume))
    named = ["restore", "--single-volume-id", volume]

    agent.succeed(*named, "--target", tmp_path / "file.raw", "--verify")
    assert digest(tmp_path / "file.raw") == wanted
    assert allocated(tmp_path / "file.raw") < 16 * MIB

    backing = tmp_path / "backing"
    with backing.open("wb") as file:
        file.truncate(GIB)
    with loop_device(backing) as device:
        agent.succeed(*named, "--target", device, "--force", "--verify")
    assert digest(backing) == wanted

    with (tmp_path / "stdout.raw").open("wb") as out:
        subprocess.run([COMMAND, *named, "--target", "-"], stdout=out, check=True)
    assert digest(tmp_path / "stdout.raw") == wanted


def test_cleanup_removes_what_a_killed_backup_left_and_a_dry_run_only_says_so(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volume: str
) -> None:
    held = Fault("initialize_connection", "wait")
    devcloud.set_faults(held)
    process = subprocess.Popen(
        [COMMAND, "backup", "--single-volume-id", volume], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    devcloud.wait_held(held)
    process.kill()
    process.wait()
    devcloud.set_faults()
    left = tenant.resources() - tenant.volumes

    planned = agent.succeed("cleanup", "--dry-run", "--json").record("plan")
    assert {*planned["volumes"], *planned["snapshots"]} == left
    assert tenant.resources() - tenant.volumes == left

    report = agent.succeed("cleanup", "--json").record()
    assert {what.split()[-1] for what in report["removed"]} == left
    assert report["kept"] == report["unknown"] == []
    tenant.assert_tidy()
    assert list((agent.repository / "locks").iterdir()) == []
    assert agent.succeed("cleanup").out == "nothing removed\n"
