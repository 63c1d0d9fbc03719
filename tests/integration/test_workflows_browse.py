"""A volume's files, looked at and taken out when there is no cloud any more."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.agent import Agent, Tenant

from icebrick.testing.oddtree import Described, describe, plant


@dataclass(frozen=True, slots=True)
class Planted:
    """A volume, and what is in its file system."""

    volume: str
    entries: Mapping[bytes, Described]


@pytest.fixture
def planted(tenant: Tenant, tmp_path: Path) -> Planted:
    volume_id = tenant.make("web1")
    folder = tmp_path / "mounted"
    folder.mkdir()
    with tenant.device(volume_id) as device:
        subprocess.run(["mkfs.ext4", "-q", "-L", "data", device], check=True)
        subprocess.run(["mount", device, folder], check=True)
        try:
            (folder / "lost+found").rmdir()
            plant(folder, entries=20)
            entries = describe(folder)
        finally:
            subprocess.run(["umount", folder], check=True)
    return Planted(volume_id, entries)


@pytest.fixture
def snapshot_id(agent: Agent, planted: Planted, monkeypatch: pytest.MonkeyPatch) -> str:
    """The volume's only one; from now on there is no cloud."""
    backup = agent.back_up(planted.volume)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", "/nonexistent")
    return str(backup["snapshot_id"])


def test_the_files_of_a_volume_are_listed_found_dumped_and_restored_without_its_cloud(
    agent: Agent, planted: Planted, snapshot_id: str, tmp_path: Path
) -> None:
    assert "files  web1" in agent.succeed("snapshots").out
    listed = agent.succeed("ls", "latest", "/files", "--single-volume-id", planted.volume).out.splitlines()
    assert set(listed) == {"/files/" + name.decode() for name in planted.entries if b"/" not in name} - {"/files/."}
    (match,) = agent.succeed("find", "bottom", "--json").json
    assert (match["snapshot"], match["size"]) == (snapshot_id, 5)
    assert agent.succeed("dump", snapshot_id, "/files/links/one").out == "three names"
    assert json.loads(agent.succeed("dump", snapshot_id, "filesystem.json").out)["label"] == "data"

    target = tmp_path / "target"
    agent.succeed("restore", "--snapshot", snapshot_id, "--target", target, "--verify")
    assert describe(target) == planted.entries
