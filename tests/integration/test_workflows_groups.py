"""Groups on a real Cinder: backed up as of one moment, and restored whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest, list_all
from tests.integration.credentials import application_credential
from tests.integration.groups import TenantGroup, groups_of, make_group, members, remove_group

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault


@pytest.fixture
def pair(agent: Agent, tenant: Tenant) -> Iterator[TenantGroup]:
    """Two volumes with data. At the end, no group may be left but this one, if it is still there."""
    group = make_group(tenant, "pair")
    for name in ("first", "second"):
        tenant.write(group.add(name), {0: os.urandom(MIB), 64 * MIB: os.urandom(MIB)})
    yield group
    unexpected = groups_of(tenant) - {group.id}
    for left in groups_of(tenant):
        remove_group(tenant, left)
    assert not unexpected
    assert list_all(tenant.api, "/group_snapshots") == []


def test_with_an_application_credential_a_member_backs_up_a_group_and_brings_it_back_when_all_is_gone(
    agent: Agent,
    tenant: Tenant,
    pair: TenantGroup,
    devcloud: Devcloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(json.dumps({"clouds": {"alice": application_credential(devcloud, "alice", "member")}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    digests = {volume: digest(tenant.file(volume)) for volume in pair.members()}
    (one, _) = digests
    with tenant.device(one):  # as a server has it
        report = agent.succeed("backup", "--json", "--consistency-groups", pair.id).record()
    (told,) = report["groups"]
    assert (told["members"], told["backed_up"], told["complete"], told["consistent"]) == (2, 2, True, None)
    tenant.assert_tidy()
    assert list_all(tenant.api, "/group_snapshots") == []
    (listed,) = agent.succeed("snapshots", "--json").json
    assert {snapshot["restore_point"]["group_snapshot_id"] for snapshot in listed} == {told["group_snapshot_id"]}

    pair.remove()
    report = agent.succeed("restore", "--json", "--verify", "--consistency-groups", pair.id).record()
    assert report["leftovers"] == []
    (group,) = report["groups"]
    try:
        restored = {each["source_id"]: tenant.adopt(each["volume_id"]) for each in report["restores"]}
        assert members(tenant, group["new_group_id"]) == set(restored.values())
        assert {source: digest(tenant.file(volume)) for source, volume in restored.items()} == digests
        now = tenant.api.get(f"/groups/{group['new_group_id']}")
        assert (now["name"], now["description"] or "") == ("pair", "")
        tenant.assert_tidy()
    finally:
        remove_group(tenant, group["new_group_id"])


def test_a_group_with_a_member_that_failed_is_said_to_be_incomplete_and_is_not_restored(
    agent: Agent, tenant: Tenant, pair: TenantGroup, devcloud: Devcloud
) -> None:
    devcloud.set_faults(Fault("create_volume_from_snapshot", times=1))
    ran = agent("backup", "--consistency-groups", pair.id)
    devcloud.set_faults()
    assert ran.code == 3
    assert f"group {pair.id} pair: no restore point, 1 of 2 volumes" in ran.out
    assert "it cannot be restored as a group, only volume by volume" in ran.err
    tenant.assert_tidy()
    assert list_all(tenant.api, "/group_snapshots") == []
    refused = agent("restore", "--consistency-groups", pair.id)
    assert f"no complete restore point of group {pair.id}, of 1 some members were not backed up" in refused.error
    tenant.assert_tidy()


def test_a_restore_of_a_group_that_fails_for_one_member_leaves_nothing(
    agent: Agent, tenant: Tenant, pair: TenantGroup, devcloud: Devcloud
) -> None:
    agent.succeed("backup", "--consistency-groups", pair.id)
    pair.remove()
    devcloud.set_faults(Fault("create_volume", skip=1, times=1))
    ran = agent("restore", "--json", "--consistency-groups", pair.id)
    assert ran.code == 3
    report = ran.record()
    assert (report["restores"], len(report["failures"])) == ([], 2)
    assert report["leftovers"] == []
    assert groups_of(tenant) == set()
    tenant.assert_tidy()


def test_an_administrator_is_warned_of_a_group_that_is_not_of_one_instant(
    agent: Agent, tenant: Tenant, pair: TenantGroup
) -> None:
    weak = make_group(tenant, "weak", "independent")
    weak.add("alone")
    ran = agent.succeed("--cloud", "anna", "backup", "--consistency-groups", weak.id)
    assert "its type independent does not promise that all volumes are frozen at one instant" in ran.err
    assert "restore point of 1 volume, not of one instant" in ran.out
    weak.remove()
