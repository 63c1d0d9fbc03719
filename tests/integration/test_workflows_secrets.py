"""Whole flows at the highest verbosity, searched for everything that must stay secret."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.agent import MIB, PASSWORD, Agent, Tenant
from tests.ran import Ran

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault

TOKEN = "gAAAA"
"""How every token of this Keystone begins."""


@pytest.fixture
def secrets(agent: Agent, devcloud: Devcloud, tenant: Tenant) -> list[str]:
    """Passwords, tokens and what the repository's key is made of."""
    record = devcloud.status().record
    assert record is not None
    keys = [json.loads(path.read_text()) for path in (agent.repository / "keys").iterdir()]
    token = tenant.api.adapter.get_token()
    assert token.startswith(TOKEN)
    return [PASSWORD, record.password.reveal(), TOKEN, *(key[part] for key in keys for part in ("salt", "data"))]


def assert_silent(ran: Ran, secrets: list[str]) -> None:
    said = ran.out + ran.err
    assert [secret for secret in secrets if secret in said] == []


@pytest.mark.parametrize("style", [["-vv"], ["-vv", "--json"]])
def test_no_secret_is_told_by_a_whole_flow(
    agent: Agent, tenant: Tenant, secrets: list[str], tmp_path: Path, style: list[str]
) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(MIB)})
    backup = agent.succeed("backup", *style, "--single-volume-id", volume)
    tenant.remove(volume)
    restore = agent.succeed("restore", *style, "--verify", "--single-volume-id", volume)
    (restored,) = tenant.resources()
    tenant.adopt(restored)
    others = [
        agent.succeed(*command, *style) for command in (["snapshots"], ["check"], ["cleanup"], ["config", "show"])
    ]
    assert "DEBUG" in backup.err or '"debug"' in backup.err
    for ran in (backup, restore, *others):
        assert_silent(ran, secrets)


def test_no_secret_is_told_by_a_flow_that_fails(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, secrets: list[str]
) -> None:
    volume = tenant.make()
    for operation in ("create_snapshot", "initialize_connection"):
        devcloud.set_faults(Fault(operation, times=1))
        failed = agent("backup", "-vv", "--single-volume-id", volume)
        assert failed.code == 1
        assert_silent(failed, secrets)


def test_no_secret_is_on_the_command_line_or_in_the_state_directory(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, secrets: list[str], tmp_path: Path
) -> None:
    volume = tenant.make()
    held = Fault("create_snapshot", "wait")
    devcloud.set_faults(held)
    command = [Path(sys.executable).with_name("icebrick"), "backup", "--single-volume-id", volume]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        devcloud.wait_held(held)
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
        state = sorted((tmp_path / "state").rglob("*"))
        kept = {path: path.read_text() for path in state if path.is_file()}
        modes = {stat.S_IMODE(path.stat().st_mode) for path in state}
        devcloud.release(held)
        process.communicate()
    assert process.returncode == 0
    for text in (shown, *kept.values()):
        assert [secret for secret in secrets if secret in text] == []
    assert any(path.parent.name == "runs" for path in kept)
    assert modes == {0o600, 0o700}
