"""Several at once on one repository: backups of volumes, and stock restic beside them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.agent import MIB, PASSWORD, Agent, Tenant, digest

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault
from icebrick.testing.restic import Restic

COMMAND = Path(sys.executable).with_name("icebrick")


@pytest.fixture
def stock(restic: str, agent: Agent) -> Restic:
    return Restic(restic, agent.repository, PASSWORD)


@pytest.fixture
def volumes(tenant: Tenant) -> list[str]:
    """Two, in part with the same data."""
    shared = os.urandom(6 * MIB)
    made = [tenant.make(name) for name in ("one", "two")]
    for volume in made:
        tenant.write(volume, {0: shared, 64 * MIB: os.urandom(6 * MIB)})
    return made


def start_backup(volume: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, "backup", "--json", "--quiet", "--single-volume-id", volume],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """The id of the snapshot that the backup made."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return str(json.loads(out.splitlines()[-1])["backups"][0]["snapshot_id"])


def wait_until_both_are_held(devcloud: Devcloud, fault: Fault) -> None:
    """Two backups have their locks and wait for their volume snapshots."""
    end = time.monotonic() + 60
    while len([each for each in devcloud.ops() if each.fault == fault.id]) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_sound(agent: Agent, stock: Restic) -> None:
    assert agent.succeed("check", "--read-data").out.endswith("no problems\n")
    assert "no errors were found" in stock.run("check", "--read-data")
    assert list((agent.repository / "locks").iterdir()) == []


def test_backups_of_two_volumes_and_one_of_restic_at_once_are_all_complete(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volumes: list[str], stock: Restic, tmp_path: Path
) -> None:
    document = tmp_path / "documents" / "letter"
    document.parent.mkdir()
    document.write_bytes(os.urandom(4 * MIB))
    held = Fault("create_snapshot", "wait")
    devcloud.set_faults(held)
    backups = [start_backup(volume) for volume in volumes]
    wait_until_both_are_held(devcloud, held)
    stock.run("backup", str(document))
    devcloud.release(held)
    snapshots = [finished(process) for process in backups]

    assert_sound(agent, stock)
    for volume, snapshot in zip(volumes, snapshots, strict=True):
        agent.succeed("restore", "--snapshot", snapshot, "--target", tmp_path / f"{volume}.raw")
        assert digest(tmp_path / f"{volume}.raw") == digest(tenant.file(volume))
    stock.run("restore", "latest", "--path", str(document), "--target", str(tmp_path / "out"))
    assert (tmp_path / "out" / document.relative_to("/")).read_bytes() == document.read_bytes()


def test_two_backups_of_one_volume_at_once_are_both_complete(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, volumes: list[str], stock: Restic, tmp_path: Path
) -> None:
    volume = volumes[0]
    held = Fault("create_snapshot", "wait")
    devcloud.set_faults(held)
    backups = [start_backup(volume) for _ in range(2)]
    wait_until_both_are_held(devcloud, held)
    devcloud.release(held)
    snapshots = {finished(process) for process in backups}

    assert len(snapshots) == 2
    assert_sound(agent, stock)
    for snapshot in snapshots:
        agent.succeed("restore", "--snapshot", snapshot, "--target", tmp_path / snapshot)
        assert digest(tmp_path / snapshot) == digest(tenant.file(volume))


@contextmanager
def exclusively_locked(stock: Restic) -> Iterator[subprocess.Popen[bytes]]:
    """A restic that checks the repository, stopped half-way: a check takes an exclusive lock."""
    process = subprocess.Popen(
        [stock.program, "--no-cache", "check", "--read-data"], env=stock.environment, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"load indexes"):
                break
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_repository_that_restic_holds_exclusively_ends_a_backup_with_11_and_restics_process_is_named(
    agent: Agent, tenant: Tenant, volumes: list[str], stock: Restic
) -> None:
    with exclusively_locked(stock) as process:
        refused = agent("backup", "--single-volume-id", volumes[0])
    assert refused.code == 11
    assert f"process {process.pid} of root" in refused.error
    tenant.assert_tidy()
    agent.back_up(volumes[0])
