"""Cold backups over real iSCSI: a real Nova, with a fake hypervisor, lets go of the volume and takes it back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.agent import MIB, Agent, digest
from tests.integration.compute import Compute
from tests.integration.iscsi.conftest import LvmTenant

from icebrick.cloud.base import VolumeSettings
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.servers import ServerAttachment
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud


@pytest.fixture
def agent(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """Patient with the server's host."""
    monkeypatch.setattr("icebrick.cloud.wait.Pace", lambda: Pace(first=0.2, longest=1, settle=60, attempts=2))
    return agent


@pytest.fixture
def server(tenant: LvmTenant, compute: Compute, compute_login: CinderCloud) -> Iterator[str]:
    """A running one; its root volume is the tenant's."""
    root = tenant.make()
    compute_login.apply_settings(root, VolumeSettings("root", "", {}, {}, bootable=True, read_only=False))
    server_id = compute.start_server(root)
    yield server_id
    compute.delete_server(server_id)
    tenant.api.wait(f"/volumes/{root}", "available")


def test_a_server_is_without_its_volume_only_until_that_is_frozen(
    agent: Agent, tenant: LvmTenant, devcloud: Devcloud, compute_login: CinderCloud, server: str, tmp_path: Path
) -> None:
    volume = tenant.make()
    tenant.write(volume, {5 * MIB: os.urandom(2 * MIB)})
    content = digest(tenant.file(volume))
    servers = compute_login.servers()
    attachment = servers.attach(ServerAttachment(server, volume))
    before = len(devcloud.ops())

    report = agent.succeed("backup", "--json", "--cold", "--single-volume-id", volume).record()

    done = [(each.operation, each.id) for each in devcloud.ops()[before:] if each.phase == "end"]
    taken = done.index(("terminate_connection", volume))
    given_back = done.index(("initialize_connection", volume))
    (frozen,) = (place for place, (operation, _) in enumerate(done) if operation == "create_snapshot")
    assert taken < frozen < given_back
    assert (report["leftovers"], report["away"]) == ([], [])
    assert list(servers.attachments(volume)) == [attachment]
    agent.succeed("restore", "--single-volume-id", volume, "--target", tmp_path / "image")
    assert digest(tmp_path / "image") == content
    servers.detach(server, volume)
