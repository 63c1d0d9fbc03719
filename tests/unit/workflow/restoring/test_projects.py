"""Every volume goes back into its own project, or into the one that is asked for; never silently into the agent's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.unit.workflow.conftest import SETTINGS, World, named

from icebrick.cloud.base import Cloud, Project, Volume
from icebrick.cloud.leftovers import find_leftovers
from icebrick.errors import CloudUnavailableError, QuotaError
from icebrick.testing.cloud_suite import settings_of
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakerecords import ALPHA, BETA, SERVICE
from icebrick.workflow.report import to_json
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.outcome import VolumeRestore, VolumesReport, Way
from icebrick.workflow.restoring.places import Logins

CONTENT = os.urandom(2 << 20)


@pytest.fixture
def volume_id(world: World) -> str:
    """Of a volume of project alpha."""
    volume = world.make_volume(CONTENT)
    world.back_up(volume.id)
    return volume.id


def seen_by(world: World, project: Project, *, admin: bool = False, elsewhere: tuple[Project, ...] = ()) -> World:
    """The same cloud, for another user; alice is the member of alpha that `world` is."""
    return replace(world, cloud=FakeCloud(world.cloud.records, project, admin=admin, elsewhere=elsewhere))


@pytest.fixture
def agent(world: World) -> World:
    """An administrator with a role in alpha."""
    return seen_by(world, SERVICE, admin=True, elsewhere=(ALPHA,))


@pytest.fixture
def outsider(world: World) -> World:
    """An administrator with no role in alpha."""
    return seen_by(world, SERVICE, admin=True)


def only(report: VolumesReport) -> VolumeRestore:
    assert (report.failures, report.leftovers) == ((), ())
    (restored,) = report.restores
    return restored


def volume_of(world: World, volume_id: str) -> Volume:
    return world.cloud.records.volumes[volume_id]


def login_of(world: World) -> Logins:
    """Of alice."""

    @contextmanager
    def login() -> Iterator[Cloud]:
        yield world.cloud

    return {ALPHA.id: login}


def assert_alices(world: World, volume_id: str) -> None:
    volume = volume_of(world, volume_id)
    assert (volume.project_id, volume.status) == (ALPHA.id, "available")
    assert settings_of(volume) == SETTINGS
    assert world.content(volume_id) == CONTENT


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "there"])
def test_with_a_role_in_the_project_the_volume_is_made_there(
    world: World, agent: World, volume_id: str, gone: bool
) -> None:
    if gone:
        world.cloud.delete_volume(volume_id)
    restored = agent.restore(volume_id)
    assert (restored.project_id, restored.offer) == (ALPHA.id, None)
    assert restored.way is (Way.NEW if gone else Way.COPY)
    assert_alices(world, restored.volume_id)
    assert world.cloud.records.snapshots == {}


def test_with_a_role_there_a_volume_is_restored_in_place_and_its_safety_snapshot_is_its_projects(
    world: World, agent: World, volume_id: str
) -> None:
    restored = agent.restore(volume_id, in_place=True)
    assert restored.volume_id == volume_id
    assert [each.id for each in world.cloud.snapshots()] == list(restored.safety_snapshot_ids)


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "there"])
def test_without_a_role_it_is_handed_over_to_whoever_accepts_for_the_project(
    world: World, outsider: World, volume_id: str, gone: bool
) -> None:
    if gone:
        world.cloud.delete_volume(volume_id)
    report = outsider.run_restore(RestoreRequest(named(volume_id), verify=True), logins=login_of(world))
    restored = only(report)
    assert (restored.project_id, restored.offer) == (ALPHA.id, None)
    assert_alices(world, restored.volume_id)
    assert (world.cloud.records.transfers, world.cloud.records.snapshots) == ({}, {})


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "there"])
def test_with_nobody_to_accept_it_an_offer_is_left_that_a_member_can_accept(
    world: World, outsider: World, volume_id: str, gone: bool
) -> None:
    if gone:
        world.cloud.delete_volume(volume_id)
    restored = outsider.restore(volume_id)
    offer = restored.offer
    assert offer is not None
    assert (restored.project_id, volume_of(world, restored.volume_id).status) == (ALPHA.id, "awaiting-transfer")
    (transfer,) = outsider.cloud.transfers()
    assert (transfer.id, transfer.volume_id) == (offer.transfer_id, restored.volume_id)
    world.cloud.accept_transfer(replace(transfer, key=offer.key))
    assert_alices(world, restored.volume_id)


def test_the_key_of_an_offer_is_in_the_report_and_is_not_shown_otherwise(outsider: World, volume_id: str) -> None:
    restored = outsider.restore(volume_id)
    assert restored.offer is not None
    key = restored.offer.key.reveal()
    assert to_json(restored)["offer"]["key"] == key
    assert key not in repr(restored)


def test_an_offer_stays_when_its_run_has_died_since(outsider: World, volume_id: str) -> None:
    outsider.restore(volume_id)
    assert not find_leftovers(outsider.cloud, lambda run_id, host: False)


def test_when_the_acceptance_fails_the_offer_stays(world: World, outsider: World, volume_id: str) -> None:
    world.cloud.faults.fail("accept_transfer", QuotaError("alpha's quota is used up"))
    report = outsider.run_restore(RestoreRequest(named(volume_id)), logins=login_of(world))
    restored = only(report)
    assert restored.offer is not None
    assert restored.offer.reason == "alpha's quota is used up"
    assert [each.id for each in outsider.cloud.transfers()] == [restored.offer.transfer_id]


@pytest.mark.parametrize("call", ["create_volume", "create_attachment", "apply_settings", "create_transfer"])
def test_what_fails_leaves_nothing_in_either_project(world: World, outsider: World, volume_id: str, call: str) -> None:
    world.cloud.delete_volume(volume_id)
    outsider.cloud.faults.fail(call, CloudUnavailableError("no answer"))
    (failure,) = outsider.run_restore(RestoreRequest(named(volume_id)), logins={}).failures
    assert failure.message == "no answer"
    assert world.resources() == set()


def test_a_volume_that_somebody_has_accepted_and_that_cannot_be_finished_says_so(
    world: World, outsider: World, volume_id: str
) -> None:
    world.cloud.delete_volume(volume_id)
    world.cloud.faults.fail("untag_volume", CloudUnavailableError("no answer"))
    (failure,) = outsider.run_restore(RestoreRequest(named(volume_id)), logins=login_of(world)).failures
    assert "is complete but still marked as unfinished" in failure.message


def test_a_login_for_another_project_than_it_is_named_for_is_refused(
    world: World, outsider: World, volume_id: str
) -> None:
    logins = {ALPHA.id: login_of(seen_by(world, BETA))[ALPHA.id]}
    (failure,) = outsider.run_restore(RestoreRequest(named(volume_id)), logins=logins).failures
    assert f"project-cloud for project {ALPHA.id} logs in to project {BETA.id}" in failure.message


def test_a_volume_is_not_restored_in_place_without_a_role_in_its_project(outsider: World, volume_id: str) -> None:
    failure = outsider.failed_restore(volume_id, in_place=True)
    assert failure.message == f"in-place needs a role in project {ALPHA.id}"


def test_a_replaced_volume_stays_until_somebody_has_accepted_the_new_one(
    world: World, outsider: World, volume_id: str
) -> None:
    restored = outsider.restore(volume_id, remove_old=True, verify=True)
    assert restored.not_removed == "nobody has accepted the restored volume yet"
    report = outsider.run_restore(
        RestoreRequest(named(volume_id), remove_old=True, verify=True), logins=login_of(world)
    )
    assert only(report).removed_volume_id == volume_id


def test_a_member_without_a_role_there_is_told_how_to_restore_it_here(world: World, volume_id: str) -> None:
    bob = seen_by(world, BETA)
    failure = bob.failed_restore(volume_id)
    assert f"cannot restore to project {ALPHA.id}" in failure.message
    assert f"--to-project {BETA.id}" in (failure.hint or "")


def test_a_member_restores_into_the_project_that_is_asked_for(world: World, volume_id: str) -> None:
    bob = seen_by(world, BETA)
    restored = bob.restore(volume_id, to_project=BETA.id)
    assert (restored.way, restored.reason) == (Way.NEW, "it is for another project")
    assert volume_of(world, restored.volume_id).project_id == BETA.id
    assert [(each.attribute, each.was) for each in restored.not_restored] == [("project_id", ALPHA.id)]


def test_another_cloud_takes_the_volume_into_the_project_that_is_logged_in_to(world: World, volume_id: str) -> None:
    elsewhere = replace(world, cloud=FakeCloud(project=BETA))
    elsewhere = replace(elsewhere, connector=type(world.connector)(elsewhere.cloud.records))
    restored = elsewhere.restore(volume_id, to_cloud="spare")
    assert (restored.way, restored.reason) == (Way.NEW, "it is for another cloud")
    assert elsewhere.content(restored.volume_id) == CONTENT
    assert elsewhere.cloud.get_volume(restored.volume_id).project_id == BETA.id
