"""Several volumes in one run: together, in a tight quota, beside one that fails, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest, quota

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault

COMMAND = Path(sys.executable).with_name("icebrick")


@pytest.fixture
def volumes(agent: Agent, tenant: Tenant) -> list[str]:
    """Five, all with data of their own and some that all have."""
    shared = os.urandom(2 * MIB)
    made = [tenant.make(f"disk-{number}") for number in range(5)]
    for volume in made:
        tenant.write(volume, {0: shared, 64 * MIB: os.urandom(2 * MIB)})
    return made


def assert_restores(agent: Agent, tenant: Tenant, volume: str, folder: Path) -> None:
    agent.succeed("restore", "--single-volume-id", volume, "--target", folder / "proof.raw", "--force")
    assert digest(folder / "proof.raw") == digest(tenant.file(volume))


def test_volumes_that_the_quota_has_no_room_for_wait_and_one_that_fails_stops_no_other(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, admin: Any, volumes: list[str], tmp_path: Path
) -> None:
    devcloud.set_faults(Fault("create_snapshot", skip=2, times=1))
    with quota(admin, tenant, volumes=len(volumes) + 2):
        ran = agent("backup", "--json", "--all-tenant-volumes", "--parallel", "5")
    assert ran.code == 3
    report = ran.record()
    assert len(report["backups"]) == 4
    (failure,) = report["failures"]
    assert "went to state error" in failure["message"]
    assert report["leftovers"] == []
    tenant.assert_tidy()

    assert agent.succeed("check", "--read-data").out.endswith("no problems\n")
    new = sum(backup["bytes_new"] for backup in report["backups"]) // MIB
    assert new == 2 + 4 * 2 + 1 + 8  # what all have was stored once, as were a block of zeros and eight
    for volume in set(volumes) - {failure["volume_id"]}:
        assert_restores(agent, tenant, volume, tmp_path)

    two = [failure["volume_id"], volumes[0] if failure["volume_id"] != volumes[0] else volumes[1]]
    ran = agent.succeed("backup", "--single-volume-id", two[0], "--single-volume-id", two[1])
    head, *rows = ran.out.splitlines()
    assert head.split() == ["volume", "name", "result", "snapshot", "mode", "read", "new", "stored", "time", "reason"]
    assert [row.split()[:3] for row in rows] == [[each, f"disk-{volumes.index(each)}", "done"] for each in two]


@pytest.fixture
def held(devcloud: Devcloud, volumes: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A backup of all, three at a time, that has done one and waits for the clones of three; one is not begun."""
    fault = Fault("create_volume_from_snapshot", "wait", skip=1)
    devcloud.set_faults(fault)
    named = [text for volume in volumes for text in ("--single-volume-id", volume)]
    process = subprocess.Popen(
        [COMMAND, "backup", "--json", "--parallel", "3", *named],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 60
        while len([each for each in devcloud.ops() if each.fault == fault.id]) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_an_interrupted_run_leaves_nothing_and_tells_of_each_volume_what_became_of_it(
    agent: Agent,
    tenant: Tenant,
    devcloud: Devcloud,
    volumes: list[str],
    held: subprocess.Popen[str],
    tmp_path: Path,
) -> None:
    held.send_signal(signal.SIGINT)
    devcloud.set_faults()
    out, err = held.communicate(timeout=60)
    assert held.returncode == 130, err
    assert "Traceback" not in err
    report = json.loads(out.splitlines()[-1])
    assert report["interrupted"]
    (done,) = report["backups"]
    assert [failure["message"] for failure in report["failures"]] == ["interrupted"] * 3
    assert report["not_begun"] == [volumes[-1]]
    assert report["leftovers"] == []
    tenant.assert_tidy()
    assert agent.snapshot_ids() == [done["snapshot_id"]]
    assert list((agent.repository / "locks").iterdir()) == []
    assert_restores(agent, tenant, done["path"].rpartition("/")[2], tmp_path)
