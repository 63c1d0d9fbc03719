"""All projects' volumes in one run, each in its own project's repository, on a real Cinder and Keystone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest, list_all
from tests.integration.conftest import CinderApi

from icebrick.devcloud.devcloud import Devcloud

Login = Callable[[Devcloud, str], CinderApi]

AS_AGENT = ("--cloud", "backup")
"""An administrator in a project of its own, with a role in alice's project and none in bob's."""


@contextmanager
def member(devcloud: Devcloud, login: Login, user: str) -> Iterator[Tenant]:
    """As the fixture `tenant`, of another project."""
    found = Tenant(login(devcloud, user), devcloud.layout.pool)
    yield found
    unexpected = found.resources() - found.volumes
    found.clear()
    assert not unexpected


@pytest.fixture
def owners(tenant: Tenant, devcloud: Devcloud, login: Login) -> Iterator[dict[str, Tenant]]:
    """Of three volumes in three projects; and in the agent's own project nothing may stay."""
    with ExitStack() as stack:
        tenants = [tenant, *(stack.enter_context(member(devcloud, login, user)) for user in ("bob", "greta"))]
        stack.enter_context(member(devcloud, login, "backup"))
        made = {each.make(f"db-{number}"): each for number, each in enumerate(tenants)}
        for volume, each in made.items():
            each.write(volume, {0: os.urandom(MIB)})
        yield made


def project_of(volume: str, owner: Tenant) -> str:
    return str(owner.api.get(f"/volumes/{volume}")["os-vol-tenant-attr:tenant_id"])


def test_each_projects_volumes_go_to_its_own_repository_and_come_back_from_there_into_the_project(
    agent: Agent, owners: dict[str, Tenant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = ("-r", f"{tmp_path}/{{project_id}}")
    projects = {volume: project_of(volume, owner) for volume, owner in owners.items()}
    of_alice, of_bob, of_greta = owners
    for volume in (of_alice, of_bob):
        agent.succeed(*location, "--project-id", projects[volume], "init")

    backup = ("backup", "--json", "--all-tenants", "--filter", "name=db-*")
    plan = agent.succeed(*AS_AGENT, *location, *backup, "--dry-run").record("plan")
    assert [failure["volume_id"] for failure in plan["failures"]] == [of_greta]
    ran = agent(*AS_AGENT, *location, *backup)
    assert ran.code == 3
    report = ran.record()
    assert {each["path"] for each in report["backups"]} == {f"/cinder/{of_alice}", f"/cinder/{of_bob}"}
    (failure,) = report["failures"]
    assert failure["volume_id"] == of_greta
    assert failure["message"].endswith(f"for project {projects[of_greta]}")
    assert failure["hint"] == f"Create it with 'icebrick --project-id {projects[of_greta]} init'."
    for volume in (of_alice, of_bob):
        (listed,) = agent.succeed(*location, "--project-id", projects[volume], "snapshots", "--json").json
        assert [snapshot["paths"] for snapshot in listed] == [[f"/cinder/{volume}"]]
        assert f"project:{projects[volume]}" in listed[0]["tags"]
        assert not any((tmp_path / projects[volume] / "locks").iterdir())
    assert not (tmp_path / projects[of_greta]).exists()

    other = agent(*location, "--project-id", projects[of_bob], "backup", "--all-tenant-volumes")
    assert (other.code, "project-id names" in other.error) == (2, True)

    lost = {volume: (owners[volume], digest(owners[volume].file(volume))) for volume in (of_alice, of_bob)}
    for volume, (owner, _) in lost.items():
        owner.remove(volume)
    with monkeypatch.context() as other_password:
        other_password.setenv("RESTIC_PASSWORD", "anders")
        agent.succeed(*location, "--project-id", projects[of_greta], "init")
    everything = ("restore", "--json", "--all-tenants", "--project-cloud", f"{projects[of_bob]}=bob")
    ran = agent(*AS_AGENT, *location, *everything)
    assert ran.code == 3
    report = ran.record()
    assert [failure["project_id"] for failure in report["failures"]] == [projects[of_greta]]
    assert {each["source_id"] for each in report["restores"]} == set(lost)
    for restored in report["restores"]:
        owner, content = lost[restored["source_id"]]
        assert restored["project_id"] == projects[restored["source_id"]]
        assert digest(owner.file(owner.adopt(restored["volume_id"]))) == content
    assert list_all(owners[of_greta].api, "/volumes") != []


def test_no_volume_at_all_is_said_and_so_is_a_repository_that_no_project_has(
    agent: Agent, tenant: Tenant, tmp_path: Path
) -> None:
    ran = agent.succeed("backup", "--all-tenant-volumes")
    assert "there is no volume in the project" in ran.err
    tenant.make("web")
    ran = agent.succeed("backup", "--all-tenant-volumes", "--filter", "name=db-*")
    assert "filter and exclude leave no volume in the project" in ran.err
    ran = agent(*AS_AGENT, "-r", f"{tmp_path}/{{project_id}}", "restore", "--all-tenants")
    assert (ran.code, "projects has a repository at" in ran.error) == (10, True)
