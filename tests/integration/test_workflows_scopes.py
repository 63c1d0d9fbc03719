"""Scopes, filters, jobs and repositories of projects on a real Cinder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest
from tests.integration.conftest import CinderApi

from icebrick.devcloud.devcloud import Devcloud


def write_job(path: Path, **document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def theirs(devcloud: Devcloud, login: Callable[[Devcloud, str], CinderApi]) -> Iterator[str]:
    """A volume of bob's, in another project."""
    bob = login(devcloud, "bob")
    volume = bob.make_volume("db-of-bob")
    yield volume
    bob.remove("volume", volume)


def test_a_job_backs_up_what_its_filters_let_through_into_the_projects_own_repository_and_restores_it(
    agent: Agent, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, excluded = tenant.make("db-1", metadata={"backup": "yes"}), tenant.make("db-2", metadata={"backup": "yes"})
    tenant.make("db-3")
    tenant.make("web", metadata={"backup": "yes"})
    tenant.write(wanted, {MIB: os.urandom(MIB)})
    project = tenant.api.get(f"/volumes/{wanted}")["os-vol-tenant-attr:tenant_id"]
    config = tmp_path / "icebrick.conf"
    config.write_text(f"[repository:projects]\nlocation = {tmp_path}/{{project_id}}\n[repository:other]\nlocation=/x\n")
    shared = ("--config", config)
    agent.succeed(*shared, "-r", "projects", "--project-id", project, "init")
    backup = write_job(
        tmp_path / "backup.json",
        action="backup",
        repository="projects",
        all_tenant_volumes=True,
        filter=["name=db-*", "metadata.backup=yes"],
        exclude=[excluded],
    )
    monkeypatch.delenv("RESTIC_REPOSITORY")  # it would count more than the job

    plan = agent.succeed(*shared, "run", backup, "--dry-run", "--json").record("plan")
    assert [planned["volume_id"] for planned in plan["backups"]] == [wanted]
    report = agent.succeed(*shared, "run", backup, "--json").record()
    assert [each["path"] for each in report["backups"]] == [f"/cinder/{wanted}"]
    assert len(list((tmp_path / project / "snapshots").iterdir())) == 1

    restore = write_job(
        tmp_path / "restore.json", action="restore", repository="projects", single_volume_id=wanted, verify=True
    )
    (restored,) = agent.succeed(*shared, "run", restore, "--json").record()["restores"]
    assert restored["receipt"]["mismatches"] == 0
    assert digest(tenant.file(tenant.adopt(restored["volume_id"]))) == digest(tenant.file(wanted))


def test_all_projects_are_shown_to_an_administrator_and_to_nobody_else(
    agent: Agent, tenant: Tenant, theirs: str
) -> None:
    own = tenant.make("db-of-alice")
    tenant.make("web")
    plan = agent.succeed(
        "--cloud", "backup", "backup", "--all-tenants", "--filter", "name=db-of-*", "--dry-run", "--json"
    ).record("plan")
    assert {planned["volume_id"] for planned in plan["backups"]} == {own, theirs}
    assert len({planned["project_id"] for planned in plan["backups"]}) == 2
    refused = agent("backup", "--all-tenants", "--dry-run")
    assert (refused.code, "all projects" in refused.error) == (1, True)


def test_what_cannot_be_backed_up_is_shown_beforehand(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, login: Callable[[Devcloud, str], CinderApi]
) -> None:
    good, broken = tenant.make("good"), tenant.make("broken")
    anna = Tenant(login(devcloud, "anna"), tenant.pool)
    anna.action(broken, "os-reset_status", status="error")
    shown = agent.succeed("backup", "--all-tenant-volumes", "--exclude", "absent", "--dry-run")
    assert f"would skip volume {broken}: it has no content: its status is error" in shown.out
    assert good in shown.out
    assert "volume absent is to be excluded, and is not there" in shown.err
    shown = agent.succeed("backup", "--single-volume-id", broken, "--dry-run")
    assert f"could not back up volume {broken}" in shown.out
