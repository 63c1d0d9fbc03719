"""Drills: on a real Cinder, and on this host; and that nothing of them stays, which the fixtures look after."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.agent import MIB, Agent, Tenant

from icebrick.filesystem.mount import mounted_for_writing
from icebrick.filesystem.programs import run_program

pytestmark = pytest.mark.slow


@pytest.fixture
def volume(tenant: Tenant) -> str:
    """With an ext4."""
    made = tenant.make("web1")
    with tenant.device(made) as device:
        run_program(["mkfs.ext4", "-q", "-L", "data", str(device)])
    return made


@pytest.fixture
def in_use(tenant: Tenant, volume: str) -> Iterator[int]:
    """By a server that has just written a file."""
    with tenant.device(volume) as device, mounted_for_writing(str(device), "ext4") as root:
        with open(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=root), "wb") as file:
            file.write(os.urandom(3 * MIB))
            os.fsync(file.fileno())
        yield root


@pytest.mark.parametrize("mode", ["blocks", "files"])
def test_a_hot_backup_stands_a_drill_in_the_cloud_and_nothing_of_it_stays(
    agent: Agent, tenant: Tenant, volume: str, in_use: int, mode: str
) -> None:
    agent.succeed("backup", "--single-volume-id", volume, "--mode", mode)
    before = tenant.resources()
    told = agent.succeed("verify", "--drill", "--single-volume-id", volume, "--json").record("verified")
    assert told["ok"]
    assert told["kind"] == "drill"
    assert told["file_system"]["clean"] is True
    assert told["receipt"]["mismatches"] == 0
    assert tenant.resources() == before
    (listed,) = agent.succeed("snapshots", "--json").json[0]
    assert [proof["kind"] for proof in listed["verified"]] == ["drill"]


def test_a_drill_needs_no_cloud(agent: Agent, volume: str, in_use: int, tmp_path: Path) -> None:
    agent.succeed("backup", "--single-volume-id", volume, "--mode", "files")
    target = tmp_path / "scratch"
    told = agent.succeed("verify", "--drill", "--target", target, "--json").record("verified")
    assert told["ok"]
    assert told["file_system"]["clean"] is True
    assert not target.exists()


def test_a_broken_file_system_is_found_although_all_data_is_right(
    agent: Agent, tenant: Tenant, volume: str, tmp_path: Path
) -> None:
    with tenant.device(volume) as device:
        subprocess.run(["/usr/sbin/debugfs", "-w", "-R", "clri <2>", device], check=True, capture_output=True)
    agent.succeed("backup", "--single-volume-id", volume, "--mode", "blocks")
    ran = agent("verify", "--drill", "--target", tmp_path / "scratch")
    assert ran.code == 3
    assert "all data is right, but its ext4 has errors" in ran.out
    assert "FAILED: drill" in agent.succeed("snapshots").out
