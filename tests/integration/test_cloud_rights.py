"""What a real Cinder does to groups, transfers and leftovers where rights, quota or the back end end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from tests.integration.credentials import application_credential

from icebrick.cloud.base import Cloud, Group, GroupSpec, VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.leftovers import find_leftovers, remove_leftovers
from icebrick.cloud.session import connect
from icebrick.cloud.temporary import temporary_group_snapshot, transfer_volume
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault
from icebrick.errors import AccessForbiddenError, QuotaError, UnexpectedStateError
from icebrick.run import Run
from icebrick.testing.cloud_suite import wipe
from icebrick.testing.fakeconnector import FakeFormerHost

PACE = Pace(first=0.15, longest=0.4, work=60, settle=1, attempts=1)
RUN = Run("20261123T061500Z-1f2e3d4c", "host1")
TYPE = "__DEFAULT__"


@pytest.fixture
def log_in_as(devcloud: Devcloud) -> Iterator[Callable[[str], CinderCloud]]:
    with ExitStack() as stack:
        yield lambda user: stack.enter_context(closing(connect(user, pace=PACE)))


@pytest.fixture
def admin(log_in_as: Callable[[str], CinderCloud]) -> Iterator[CinderCloud]:
    """Who also removes what a test leaves."""
    cloud = log_in_as("backup")
    yield cloud
    wipe(cloud)


@pytest.fixture
def cloud(admin: CinderCloud, log_in_as: Callable[[str], CinderCloud]) -> CinderCloud:
    return log_in_as("alice")


@pytest.fixture
def group(cloud: CinderCloud) -> Group:
    """With one member."""
    made = cloud.create_group(GroupSpec("group", "consistent", (TYPE,)))
    cloud.create_volume(VolumeSpec("disk", 1, volume_type=TYPE, group_id=made.id))
    return cloud.get_group(made.id)


@pytest.fixture
def credential(devcloud: Devcloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Cloud]:
    """Logs in with a new application credential of a user, limited to one role."""

    def log_in(user: str, role: str) -> Cloud:
        clouds = tmp_path / "clouds.yaml"
        clouds.write_text(json.dumps({"clouds": {"limited": application_credential(devcloud, user, role)}}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        return connect("limited", pace=PACE)

    return log_in


def test_an_application_credential_of_a_reader_may_only_look(
    cloud: CinderCloud, group: Group, credential: Callable[[str, str], Cloud]
) -> None:
    reader = credential("alice", "reader")
    (volume_id,) = group.volume_ids
    assert reader.get_group(group.id).volume_ids == (volume_id,)
    free = cloud.create_volume(VolumeSpec("disk", 1)).id
    for refused in (
        lambda: reader.create_snapshot(volume_id, name="s", metadata={}),
        lambda: reader.create_group_snapshot(group.id, name="s", description=""),
        lambda: reader.create_group(GroupSpec("g", "consistent", (TYPE,))),
        lambda: reader.create_transfer(free, name="t"),
    ):
        with pytest.raises(AccessForbiddenError, match="Policy doesn't allow"):
            refused()


def test_an_application_credential_is_bound_to_its_project_whatever_roles_its_user_has(
    cloud: CinderCloud, credential: Callable[[str, str], Cloud]
) -> None:
    bound = credential("backup", "admin")
    assert bound.is_admin()
    with (
        pytest.raises(AccessForbiddenError, match="application credential is bound to its project") as caught,
        bound.in_project(cloud.project().id),
    ):
        pass
    assert "password" in str(caught.value.hint)


def test_a_group_snapshot_that_fails_is_deleted_with_its_snapshots(
    devcloud: Devcloud, cloud: CinderCloud, group: Group
) -> None:
    devcloud.set_faults(Fault("create_group_snapshot", times=1))
    with pytest.raises(UnexpectedStateError, match=f"of group {group.id} went to state error"):
        cloud.create_group_snapshot(group.id, name="s", description=RUN.mark)
    assert (list(cloud.group_snapshots()), list(cloud.snapshots())) == ([], [])


def test_a_group_snapshot_whose_deletion_fails_is_a_leftover_and_goes_the_next_time(
    devcloud: Devcloud, cloud: CinderCloud, group: Group
) -> None:
    leftovers: list[str] = []
    devcloud.set_faults(Fault("delete_group_snapshot", times=1))
    with temporary_group_snapshot(cloud, group.id, RUN, leftovers) as taken:
        pass
    assert leftovers[0].startswith(f"group snapshot {taken.id}: ")
    removal = remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, lambda run, host: False))
    assert (removal.removed, removal.kept) == ((f"group snapshot {taken.id}",), ())


def test_a_deletion_of_a_group_snapshot_waits_for_its_snapshots(
    devcloud: Devcloud, cloud: CinderCloud, group: Group
) -> None:
    taken = cloud.create_group_snapshot(group.id, name="s", description="")
    devcloud.set_faults(Fault("delete_group_snapshot", "delay", when="after", seconds=0.5))
    cloud.delete_group_snapshot(taken.id)
    assert list(cloud.snapshots()) == []
    cloud.remove_from_group(group.volume_ids[0])
    cloud.delete_group(group.id)


def test_a_group_snapshot_that_the_quota_has_no_room_for_is_queued_for_and_leaves_nothing(
    devcloud: Devcloud, cloud: CinderCloud, group: Group, login: Callable[..., Any]
) -> None:
    quota = f"/os-quota-sets/{cloud.project().id}"
    operator = login(devcloud, "backup")
    assert operator.request("PUT", quota, {"quota_set": {"snapshots": 0}})[0] == 200
    try:
        with pytest.raises(QuotaError):
            cloud.create_group_snapshot(group.id, name="s", description="")
    finally:
        operator.request("DELETE", quota)
    assert (list(cloud.group_snapshots()), list(cloud.snapshots())) == ([], [])


def test_a_transfer_to_a_project_without_quota_leaves_the_volume_where_it_was(
    devcloud: Devcloud, cloud: CinderCloud, log_in_as: Callable[[str], CinderCloud], login: Callable[..., Any]
) -> None:
    receiver = log_in_as("greta")
    volume = cloud.create_volume(VolumeSpec("disk", 1))
    quota = f"/os-quota-sets/{receiver.project().id}"
    operator = login(devcloud, "backup")
    assert operator.request("PUT", quota, {"quota_set": {"volumes": 0}})[0] == 200
    try:
        with pytest.raises(QuotaError):
            transfer_volume(cloud, volume.id, receiver, RUN, [])
    finally:
        operator.request("DELETE", quota)
    assert (cloud.get_volume(volume.id).status, list(cloud.transfers())) == ("available", [])
    assert transfer_volume(cloud, volume.id, receiver, RUN, []).project_id == receiver.project().id


def test_what_a_dying_cinder_leaves_half_made_is_told_to_a_member_and_removed_by_an_administrator(
    devcloud: Devcloud, cloud: CinderCloud, admin: CinderCloud, group: Group, login: Callable[..., Any]
) -> None:
    held = Fault("create_group_snapshot", "wait", times=1)
    devcloud.set_faults(held)
    body = {"group_snapshot": {"group_id": group.id, "name": "s", "description": RUN.mark}}
    status, made = login(devcloud, "alice").request("POST", "/group_snapshots", body)
    assert status == 202, made
    devcloud.wait_held(held)
    devcloud.stop("cinder", kill=True)
    devcloud.set_faults()
    devcloud.up(owned=True)
    what = f"group snapshot {made['group_snapshot']['id']}"
    left = find_leftovers(cloud, lambda run, host: False)
    (kept,) = remove_leftovers(cloud, FakeFormerHost(), left).kept
    assert (kept.what, "is still creating after 1 s" in kept.reason) == (what, True)
    assert f"'cinder reset-state --type group-snapshot --state error {what.rsplit(maxsplit=1)[-1]}'" in str(kept.hint)
    removal = remove_leftovers(admin, FakeFormerHost(), find_leftovers(admin, lambda run, host: False))
    assert (removal.removed, removal.kept) == ((what,), ())
    assert list(admin.all_snapshots()) == []
