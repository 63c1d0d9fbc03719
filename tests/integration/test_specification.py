"""The specification as a whole: its steps in their order, from nobody but Cinder, and its options in a file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.agent import MIB, PASSWORD, Agent, Tenant, digest
from tests.integration.conftest import CinderApi

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault

FREEZE = ("create_snapshot", "create_volume_from_snapshot")
ATTACH = ("initialize_connection", "terminate_connection")
LETTER = "dear diary"


@pytest.fixture
def steps(devcloud: Devcloud) -> Callable[[str], list[str]]:
    """What the back end has finished since it was asked for the last time. Nothing of it may be on that volume."""
    seen = len(devcloud.ops())

    def since(volume: str) -> list[str]:
        nonlocal seen
        operations = devcloud.ops()
        new, seen = operations[seen:], len(operations)
        assert volume not in {each.id for each in new}
        return [each.operation for each in new if each.phase == "end"]

    return since


@contextmanager
def mounted(device: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", device, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("mode", ["files", "blocks"])
def test_a_backup_and_both_restores_take_the_steps_of_the_specification_and_none_on_the_volume_itself(
    mode: str, agent: Agent, tenant: Tenant, steps: Callable[[str], list[str]], tmp_path: Path
) -> None:
    volume = tenant.make()
    with tenant.device(volume) as device:
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        with mounted(device, tmp_path / "live") as live:
            (live / "diary").write_text(LETTER)
            subprocess.run(["sync", "--file-system", live], check=True)
            steps("")
            agent.succeed("backup", "--mode", mode, "--single-volume-id", volume)
            assert steps(volume) == [*FREEZE, *ATTACH, "delete_volume", "delete_snapshot"]
            copy = agent.restore(volume)
            assert steps(volume) == [*FREEZE, *ATTACH, "delete_snapshot"]
    tenant.remove(volume)
    steps("")
    anew = agent.restore(volume)
    assert steps(volume) == ["create_volume", *ATTACH]

    assert [copy["way"], anew["way"]] == ["copy", "new"]
    for restored in (copy, anew):
        with tenant.device(tenant.adopt(restored["volume_id"])) as device, mounted(device, tmp_path / "back") as back:
            assert (back / "diary").read_text() == LETTER


def test_a_clone_that_fails_is_made_again_where_that_is_wanted(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, tmp_path: Path
) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(MIB)})
    devcloud.set_faults(Fault("create_volume_from_snapshot", times=2))
    agent.succeed("backup", "--recreate-vol-on-error", "--single-volume-id", volume)
    tenant.assert_tidy()
    agent.succeed("restore", "--single-volume-id", volume, "--target", tmp_path / "image")
    assert digest(tmp_path / "image") == digest(tenant.file(volume))


def test_all_may_stand_in_the_configuration_and_keystone_and_cinder_are_all_that_is_needed(
    agent: Agent, tenant: Tenant, admin: CinderApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = tenant.make("then")
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    config = tmp_path / "icebrick.conf"
    config.write_text(
        f"""
        [repository:main]
        location = {agent.repository}
        password-file = {password}
        [cloud:own]
        cloud = alice
        [cinder-osbrick]
        engine-os-brick = yes
        single-volume-id = {volume}
        recreate-vol-on-error = yes
        meta-override = yes
        """.replace("        ", "")
    )
    for name in ("OS_CLOUD", "RESTIC_REPOSITORY", "RESTIC_PASSWORD"):
        monkeypatch.delenv(name)
    agent.succeed("--config", config, "backup")
    assert tenant.api.request("PUT", f"/volumes/{volume}", {"volume": {"name": "now"}})[0] == 200
    report = agent.succeed("--config", config, "restore", "--json").record()

    (restored,) = report["restores"]
    assert tenant.api.get(f"/volumes/{tenant.adopt(restored['volume_id'])}")["name"] == "then"
    services = admin.adapter.session.auth.get_access(admin.adapter.session).service_catalog.catalog
    assert {service["type"] for service in services} == {"identity", "block-storage"}
    assert "cinder-backup" not in {service["binary"] for service in admin.get("/os-services")}
