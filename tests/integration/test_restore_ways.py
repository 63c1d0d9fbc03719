"""The ways in which a volume is restored, on a real Cinder: which volume has what afterwards, and whose it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest, list_all
from tests.integration.conftest import CinderApi

from icebrick.devcloud.devcloud import Devcloud

Login = Callable[[Devcloud, str], CinderApi]

AS_AGENT = ("--cloud", "backup")
"""An administrator in a project of its own, with a role in alice's project and none in bob's."""


@pytest.fixture
def bob(devcloud: Devcloud, login: Login) -> Iterator[Tenant]:
    """As `tenant`, of another project."""
    member = Tenant(login(devcloud, "bob"), devcloud.layout.pool)
    yield member
    unexpected = member.resources() - member.volumes
    member.clear()
    assert not unexpected


@pytest.fixture
def agents(devcloud: Devcloud, login: Login) -> Iterator[CinderApi]:
    """The agent's own project, in which nothing may stay."""
    api = login(devcloud, "backup")
    yield api
    left = list_all(api, "/volumes") + list_all(api, "/snapshots")
    Tenant(api, devcloud.layout.pool).clear()
    assert left == []


def changed_since_backup(agent: Agent, tenant: Tenant, *arguments: str) -> tuple[str, str]:
    """A volume, and the digest of what its backup has."""
    volume = tenant.make("disk")
    tenant.write(volume, {0: os.urandom(2 * MIB)})
    backed_up = digest(tenant.file(volume))
    agent.succeed(*arguments, "backup", "--single-volume-id", volume)
    tenant.write(volume, {MIB: os.urandom(MIB)})
    return volume, backed_up


def test_in_place_the_volume_keeps_its_id_and_what_it_was_is_kept(agent: Agent, tenant: Tenant) -> None:
    volume, backed_up = changed_since_backup(agent, tenant)
    before = digest(tenant.file(volume))
    with tenant.device(volume):
        refused = agent("restore", "--single-volume-id", volume, "--in-place")
        assert "is in-use, and has to be detached" in refused.error
        refused = agent("restore", "--single-volume-id", volume, "--remove-old-vol", "--yes")
        assert (refused.code, "remove-old-vol cannot delete volume" in refused.error) == (2, True)
    tenant.assert_tidy()

    restored = agent.restore(volume, "--in-place", "--verify")

    assert (restored["volume_id"], restored["way"]) == (volume, "in-place")
    assert digest(tenant.file(volume)) == backed_up
    (snapshot,) = list_all(tenant.api, "/snapshots/detail")
    assert [snapshot["id"]] == restored["safety_snapshot_ids"]
    assert set(snapshot["metadata"]) == {"icebrick-safety"}
    undone = tenant.make("undone", snapshot_id=snapshot["id"])
    assert digest(tenant.file(undone)) == before
    tenant.remove(undone)
    tenant.api.remove("snapshot", snapshot["id"])


def test_a_volume_that_is_gone_joins_its_group_again(agent: Agent, tenant: Tenant) -> None:
    types = {each["name"]: each["id"] for each in list_all(tenant.api, "/group_types")}
    volume_type = tenant.api.get("/types/default")["id"]
    group = tenant.api.make("group", group_type=types["consistent"], volume_types=[volume_type], name="pair")
    volume = tenant.make("member", volume_type=volume_type, group_id=group)
    agent.back_up(volume)
    part(tenant, group, volume)
    tenant.remove(volume)

    restored = tenant.adopt(agent.restore(volume)["volume_id"])

    assert tenant.api.get(f"/volumes/{restored}")["group_id"] == group
    part(tenant, group, restored)
    assert tenant.api.request("POST", f"/groups/{group}/action", {"delete": {"delete-volumes": False}})[0] == 202
    tenant.api.wait_gone(f"/groups/{group}")


def part(tenant: Tenant, group: str, volume: str) -> None:
    assert tenant.api.request("PUT", f"/groups/{group}", {"group": {"remove_volumes": volume}})[0] == 202
    tenant.api.wait(f"/groups/{group}", "available")


def test_a_type_that_is_gone_is_told_and_mapped(agent: Agent, tenant: Tenant, devcloud: Devcloud, login: Login) -> None:
    admin = login(devcloud, "backup")
    status, made = admin.request("POST", "/types", {"volume_type": {"name": "fast"}})
    assert status == 200
    volume = tenant.make(volume_type="fast")
    agent.back_up(volume)
    tenant.remove(volume)
    assert admin.request("DELETE", f"/types/{made['volume_type']['id']}")[0] == 202

    refused = agent("restore", "--single-volume-id", volume)
    assert (refused.code, refused.error[:34]) == (1, "there is no volume type fast here ")
    assert "--map-type fast=NEW" in refused.hint
    tenant.assert_tidy()

    restored = agent.restore(volume, "--map-type", "fast=__DEFAULT__")
    assert tenant.api.get(f"/volumes/{tenant.adopt(restored['volume_id'])}")["volume_type"] == "__DEFAULT__"
    assert "volume_type" in [each["attribute"] for each in restored["not_restored"]]


def test_a_volume_in_an_error_state_is_replaced_by_a_new_one_and_removed(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, login: Login
) -> None:
    volume, backed_up = changed_since_backup(agent, tenant)
    reset = {"os-reset_status": {"status": "error"}}
    assert login(devcloud, "backup").request("POST", f"/volumes/{volume}/action", reset)[0] == 202
    assert "is in state error" in agent("restore", "--single-volume-id", volume).error

    restored = agent.restore(volume, "--recreate-vol-on-error", "--remove-old-vol", "--yes")

    assert (restored["way"], restored["removed_volume_id"]) == ("new", volume)
    assert restored["receipt"]["mismatches"] == 0
    tenant.volumes.discard(volume)
    assert digest(tenant.file(tenant.adopt(restored["volume_id"]))) == backed_up
    tenant.assert_tidy()


def test_an_agent_with_a_role_in_the_project_restores_into_it(
    agent: Agent, tenant: Tenant, agents: CinderApi, tmp_path: Path
) -> None:
    there, backed_up = changed_since_backup(agent, tenant, *AS_AGENT)
    gone, gone_backup = changed_since_backup(agent, tenant, *AS_AGENT)
    tenant.remove(gone)
    scope = ["--single-volume-id", there, "--single-volume-id", gone]

    receipts = tmp_path / "receipts.json"
    report = agent.succeed(*AS_AGENT, "restore", "--json", "--verify", "--receipt", receipts, *scope).record()

    restored = {each["source_id"]: each for each in report["restores"]}
    assert (restored[there]["way"], restored[gone]["way"]) == ("copy", "new")
    for source, wanted in ((there, backed_up), (gone, gone_backup)):
        made = tenant.adopt(restored[source]["volume_id"])  # alice sees it: it is in her project
        assert digest(tenant.file(made)) == wanted
        assert tenant.api.get(f"/volumes/{made}")["metadata"] == {}
    verified = {receipt["target"] for receipt in json.loads(receipts.read_text())}
    assert verified == {each["volume_id"] for each in report["restores"]}


def test_without_a_role_there_the_volume_is_offered_and_a_member_accepts_it(
    agent: Agent, bob: Tenant, agents: CinderApi
) -> None:
    volume, backed_up = changed_since_backup(agent, bob, *AS_AGENT)
    report = agent.succeed(*AS_AGENT, "-vv", "restore", "--json", "--single-volume-id", volume)
    (restored,) = report.record()["restores"]
    offer = restored["offer"]
    assert agents.get(f"/volumes/{restored['volume_id']}")["status"] == "awaiting-transfer"
    assert offer["key"] not in report.err
    agent.succeed(*AS_AGENT, "cleanup")  # which leaves the offer

    accept = {"accept": {"auth_key": offer["key"]}}
    assert bob.api.request("POST", f"/volume-transfers/{offer['transfer_id']}/accept", accept)[0] == 202

    made = bob.adopt(restored["volume_id"])
    assert digest(bob.file(made)) == backed_up
    assert bob.api.get(f"/volumes/{made}")["metadata"] == {}


def test_with_a_login_for_the_project_the_volume_is_accepted_at_once(
    agent: Agent, bob: Tenant, agents: CinderApi
) -> None:
    volume, backed_up = changed_since_backup(agent, bob, *AS_AGENT)
    project = bob.api.get(f"/volumes/{volume}")["os-vol-tenant-attr:tenant_id"]
    scope = ("--single-volume-id", volume, "--remove-old-vol", "--yes")

    report = agent.succeed(*AS_AGENT, "restore", "--json", *scope, "--project-cloud", f"{project}=bob").record()

    (restored,) = report["restores"]
    assert (restored["offer"], restored["removed_volume_id"], report["leftovers"]) == (None, volume, [])
    bob.volumes.discard(volume)
    assert digest(bob.file(bob.adopt(restored["volume_id"]))) == backed_up
    assert bob.api.get(f"/volumes/{restored['volume_id']}")["status"] == "available"


def test_to_another_project_or_cloud_a_new_volume_is_made_there(agent: Agent, tenant: Tenant, bob: Tenant) -> None:
    volume, backed_up = changed_since_backup(agent, tenant)
    refused = agent("--cloud", "bob", "restore", "--single-volume-id", volume)
    project = refused.hint.rpartition(" ")[2].rstrip(".")
    assert "cannot restore to project" in refused.error

    for arguments in (["--cloud", "bob", "restore", "--to-project", project], ["restore", "--to-cloud", "bob"]):
        report = agent.succeed(*arguments, "--json", "--single-volume-id", volume).record()
        (restored,) = report["restores"]
        assert (restored["way"], restored["project_id"]) == ("new", project)
        assert digest(bob.file(bob.adopt(restored["volume_id"]))) == backed_up
    tenant.assert_tidy()


def test_all_projects_are_backed_up_at_once_and_each_volume_comes_back_into_its_own(
    agent: Agent, tenant: Tenant, bob: Tenant, agents: CinderApi
) -> None:
    owners = {tenant.make("db-1"): tenant, bob.make("db-2"): bob}
    tenant.make("web")
    digests = {}
    for volume, owner in owners.items():
        owner.write(volume, {0: os.urandom(MIB)})
        digests[volume] = digest(owner.file(volume))
    project = bob.api.get(f"/volumes/{next(iter(bob.volumes))}")["os-vol-tenant-attr:tenant_id"]

    report = agent.succeed(*AS_AGENT, "backup", "--json", "--all-tenants", "--filter", "name=db-*").record()
    assert {each["path"] for each in report["backups"]} == {f"/cinder/{volume}" for volume in owners}
    for volume, owner in owners.items():
        owner.remove(volume)
    everything = ["restore", "--json", "--all-tenants", "--project-cloud", f"{project}=bob"]
    report = agent.succeed(*AS_AGENT, *everything).record()

    for restored in report["restores"]:
        owner = owners.pop(restored["source_id"])
        made = owner.adopt(restored["volume_id"])  # its tenant sees it, and at the end knows of all there are
        assert digest(owner.file(made)) == digests[restored["source_id"]]
    assert owners == {}

    own = agent.succeed("restore", "--json", "--all-tenant-volumes").record()
    (restored,) = own["restores"]
    assert (restored["way"], digest(tenant.file(tenant.adopt(restored["volume_id"])))) == (
        "new",
        digests[restored["source_id"]],
    )
