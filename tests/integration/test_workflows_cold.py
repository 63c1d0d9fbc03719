"""Cold backups of a running server's volume, on a real Nova and Cinder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.e2e.conftest import COMMAND
from tests.integration.agent import MIB, Agent, digest, write

from icebrick.cloud.base import VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.servers import ServerAttachment
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault

STEPS = ("terminate_connection", "create_snapshot", "initialize_connection", "create_volume_from_snapshot")


class Data(NamedTuple):
    """A volume that a server has, and must have again after each test, with nothing left beside it."""

    volume_id: str
    attachment: ServerAttachment
    file: Path
    """What the back end holds of it."""


@pytest.fixture
def devcloud(compute_devcloud: Devcloud) -> Devcloud:
    """For the fixture `agent`."""
    return compute_devcloud


@pytest.fixture
def agent(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """Patient with the other processes of a server's host."""
    monkeypatch.setattr("icebrick.cloud.wait.Pace", lambda: Pace(first=0.15, longest=0.4, settle=30, attempts=2))
    return agent


@pytest.fixture
def data(devcloud: Devcloud, compute_login: CinderCloud, server: str, root: str) -> Iterator[Data]:
    volume = compute_login.create_volume(VolumeSpec("data", 1, metadata={"k": "v"}))
    attachment = compute_login.servers().attach(ServerAttachment(server, volume.id, delete_on_termination=True))
    (in_cinder,) = compute_login.attachments(volume.id)
    assert in_cinder.connection is not None
    write(Path(in_cinder.connection.data["device_path"]), {7 * MIB: os.urandom(MIB)})
    yield Data(volume.id, attachment, devcloud.layout.pool / "volumes" / f"volume-{volume.id}")
    devcloud.set_faults()
    after = compute_login.get_volume(volume.id)
    assert (after.status, after.metadata, after.notes) == ("in-use", {"k": "v"}, {})
    assert list(compute_login.servers().attachments(volume.id)) == [attachment]
    compute_login.servers().detach(server, volume.id)
    compute_login.delete_volume(volume.id)
    assert [volume.id for volume in compute_login.volumes()] == [root]
    assert list(compute_login.snapshots()) == []


def test_the_server_is_without_its_volume_only_until_that_is_frozen(
    agent: Agent, devcloud: Devcloud, data: Data, tmp_path: Path
) -> None:
    before = len(devcloud.ops())
    report = agent.succeed("backup", "--json", "--cold", "--single-volume-id", data.volume_id).record()
    steps = [(each.operation, each.id) for each in devcloud.ops()[before:] if each.phase == "end"]
    taken, frozen, given_back, cloned, *_ = [step for step in steps if step[0] in STEPS]
    assert taken == ("terminate_connection", data.volume_id)
    assert frozen[0] == "create_snapshot"
    assert given_back == ("initialize_connection", data.volume_id)
    assert cloned[0] == "create_volume_from_snapshot"
    assert (report["leftovers"], report["away"]) == ([], [])
    agent.succeed("restore", "--single-volume-id", data.volume_id, "--target", tmp_path / "image")
    assert digest(tmp_path / "image") == digest(data.file)


def test_the_volume_that_a_server_starts_from_is_refused(
    agent: Agent, data: Data, compute_login: CinderCloud, server: str, root: str
) -> None:
    ran = agent("backup", "--cold", "--single-volume-id", root)
    assert root in ran.error
    assert "Cannot detach a root device volume" in ran.error
    assert "Without --cold" in ran.hint
    assert [one.server_id for one in compute_login.servers().attachments(root)] == [server]
    assert compute_login.get_volume(root).notes == {}


def test_a_volume_that_its_back_end_does_not_give_back_is_told_and_the_next_cleanup_gives_it_back(
    agent: Agent, devcloud: Devcloud, data: Data, compute_login: CinderCloud, server: str
) -> None:
    devcloud.set_faults(Fault("initialize_connection", match=data.volume_id))
    ran = agent("backup", "--json", "--cold", "--single-volume-id", data.volume_id)
    assert ran.code == 3, ran
    (told,) = ran.record()["away"]
    assert f"openstack server add volume --device {data.attachment.device}" in told
    assert compute_login.get_volume(data.volume_id).status == "available"
    devcloud.set_faults()
    cleaned = agent.succeed("cleanup").out
    assert f"attached volume {data.volume_id} to server {server} again" in cleaned


def test_killed_while_the_volume_is_away_from_its_server_another_host_gives_it_back(
    agent: Agent, devcloud: Devcloud, data: Data, compute_login: CinderCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Fault("create_snapshot", "wait", match="^icebrick-", times=1)
    devcloud.set_faults(held)
    command = [*COMMAND, "backup", "--cold", "--single-volume-id", data.volume_id]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as killed:
        devcloud.wait_held(held)
        killed.kill()
    devcloud.release(held)
    monkeypatch.setenv("ICEBRICK_STATE_DIR", str(agent.repository.parent / "elsewhere"))
    unknown = agent.succeed("cleanup", "--json").record()
    assert compute_login.get_volume(data.volume_id).status == "available"
    (run,) = unknown["unknown"]
    report = agent.succeed("cleanup", "--json", "--run", run["id"]).record()
    assert report["given_back"] == [f"volume {data.volume_id} to server {data.attachment.server_id}"]
    assert [what.split()[:2] for what in report["removed"]] == [["volume", "snapshot"]]
