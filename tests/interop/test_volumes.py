"""What somebody finds who has the repository of a volume, its password and stock restic, and nothing else."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from icebrick.app import Host, cloud_run
from icebrick.backend.local import LocalBackend
from icebrick.cloud.base import VolumeSettings, VolumeSpec
from icebrick.progress import NO_PROGRESS
from icebrick.repository.repository import open_repository
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector
from icebrick.testing.fakerecords import GIB
from icebrick.testing.images import PASSWORD, small_repository
from icebrick.testing.restic import Restic
from icebrick.workflow.backup import plan_backup, run_backup
from icebrick.workflow.destination import OneDestination, opened_destination
from icebrick.workflow.living import RunRegistry
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.scope import Scope, ScopeKind

SETTINGS = VolumeSettings("web", "of web1 ☂", {"owner": "anna"}, {"os_distro": "debian"}, bootable=True, read_only=True)
CONTENT = bytes(range(256)) * 20_000


@pytest.fixture
def stored(restic: str, tmp_path: Path) -> tuple[str, Restic]:
    """The id of a volume, and restic on the repository that its backup is in."""
    backend = LocalBackend(tmp_path / "repository")
    small_repository(backend)
    cloud = FakeCloud()
    volume = cloud.create_volume(VolumeSpec("new", 1))
    cloud.content(volume.id).write(0, CONTENT)
    cloud.apply_settings(volume.id, SETTINGS)
    connector = FakeConnector(cloud.records)
    host = Host(connector, RunRegistry(tmp_path / "state", "fakehost"), lock_wait=timedelta())
    repository, capacity = open_repository(backend, PASSWORD), new_capacity(1)
    with (
        cloud_run(host, cloud) as access,
        opened_destination(repository, capacity.slots, NO_PROGRESS, lock_wait=timedelta()) as destination,
    ):
        plan = plan_backup(cloud, Scope(ScopeKind.VOLUMES, (volume.id,)))
        report = run_backup(plan, access, OneDestination(destination), capacity, NO_PROGRESS)
    assert report.failures == ()
    return volume.id, Restic(restic, tmp_path / "repository", PASSWORD.reveal())


def test_restic_lists_the_record_and_the_image_at_once(stored: tuple[str, Restic]) -> None:
    volume, program = stored
    names = program.run("ls", "latest", "--path", f"/cinder/{volume}").splitlines()[1:]
    assert {"/volume.json", "/volume.raw"} <= set(names)


def test_the_record_that_restic_dumps_says_what_the_volume_was(stored: tuple[str, Restic]) -> None:
    volume, program = stored
    record = json.loads(program.run("dump", "latest", "/volume.json"))
    assert record["format"] == "icebrick volume record"
    found = record["volume"]
    assert (found["id"], found["size_gib"]) == (volume, 1)
    assert {key: found[key] for key in ("name", "description", "bootable", "read_only")} == {
        "name": SETTINGS.name,
        "description": SETTINGS.description,
        "bootable": True,
        "read_only": True,
    }
    assert (found["metadata"], found["image_metadata"]) == ({"owner": "anna"}, {"os_distro": "debian"})


def test_the_image_that_restic_dumps_is_the_volume_to_its_end(stored: tuple[str, Restic], tmp_path: Path) -> None:
    _, program = stored
    command = [program.program, "--no-cache", "dump", "latest", "/volume.raw"]
    with subprocess.Popen(command, env=program.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(len(CONTENT)) == CONTENT
        rest = 0
        while piece := process.stdout.read(1 << 20):
            assert piece.count(0) == len(piece)
            rest += len(piece)
    assert (process.returncode, len(CONTENT) + rest) == (0, GIB)


@pytest.mark.parametrize("name", ["--tag", "--host", "--path"])
def test_restic_finds_the_volume_by_its_tag_host_and_path(stored: tuple[str, Restic], name: str) -> None:
    volume, program = stored
    value = {"--tag": f"volume:{volume}", "--host": "cinder", "--path": f"/cinder/{volume}"}[name]
    assert len(program.json("snapshots", name, value)) == 1


def test_restic_finds_no_fault_with_a_volumes_backup(stored: tuple[str, Restic]) -> None:
    assert "no errors were found" in stored[1].run("check", "--read-data")
