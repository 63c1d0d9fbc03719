"""Cleaning up after dead runs: all of theirs, nothing of anybody else's, and what cannot go is told."""

from __future__ import annotations

import pytest

from icebrick.cloud.base import Cloud, GroupSpec, Mode, VolumeSpec
from icebrick.cloud.leftovers import Leftovers, find_leftovers, remove_leftovers
from icebrick.errors import AttachError
from icebrick.run import RUN_KEY, Run
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector, FakeFormerHost
from icebrick.testing.fakerecords import SERVICE

DEAD = Run("20261122T010000Z-dead0000", "host1")
TYPE = "__DEFAULT__"
LIVE = Run("20261123T010000Z-11fe0000", "host1")


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def admin(cloud: FakeCloud) -> FakeCloud:
    return FakeCloud(cloud.records, SERVICE, admin=True)


@pytest.fixture
def source(cloud: FakeCloud) -> str:
    """The volume that the runs back up."""
    return cloud.create_volume(VolumeSpec("source", 1)).id


@pytest.fixture
def host() -> FakeFormerHost:
    return FakeFormerHost()


def is_alive(run_id: str, host: str) -> bool:
    return (run_id, host) == (LIVE.id, LIVE.host)


def leave(cloud: FakeCloud, source: str, run: Run) -> tuple[str, str]:
    """A run's volume snapshot and attached clone."""
    snapshot = cloud.create_snapshot(source, name="s", metadata=run.tags)
    clone = cloud.create_clone(snapshot, name="c", metadata=run.tags)
    attachment = cloud.create_attachment(clone.id, Mode.READ)
    cloud.connect_attachment(attachment.id, FakeConnector(cloud.records).properties(), Mode.READ)
    cloud.complete_attachment(attachment.id)
    return snapshot.id, clone.id


def test_only_what_dead_runs_tagged_is_found(cloud: FakeCloud, source: str) -> None:
    leave(cloud, source, LIVE)
    snapshot, clone = leave(cloud, source, DEAD)
    found = find_leftovers(cloud, is_alive)
    assert ([v.id for v in found.volumes], [s.id for s in found.snapshots]) == ([clone], [snapshot])
    assert found.runs == (DEAD.id,)


def test_a_tag_without_a_host_is_asked_for_all_the_same(cloud: FakeCloud) -> None:
    cloud.create_volume(VolumeSpec("old", 1, metadata={RUN_KEY: "r"}))
    asked: list[tuple[str, str]] = []
    find_leftovers(cloud, lambda run_id, host: not asked.append((run_id, host)))
    assert asked == [("r", "")]


def test_leftovers_are_removed_with_their_connections_and_the_source_stays(
    cloud: FakeCloud, source: str, host: FakeFormerHost
) -> None:
    snapshot, clone = leave(cloud, source, DEAD)
    removal = remove_leftovers(cloud, host, find_leftovers(cloud, is_alive))
    assert removal.removed == (f"volume {clone}", f"volume snapshot {snapshot}")
    assert ([v.id for v in cloud.volumes()], list(cloud.snapshots())) == ([source], [])
    assert [info.data["volume_id"] for info in host.disconnected] == [clone]


def test_an_attachment_that_was_only_reserved_has_nothing_to_disconnect(cloud: FakeCloud, host: FakeFormerHost) -> None:
    cloud.create_attachment(cloud.create_volume(VolumeSpec("c", 1, metadata=DEAD.tags)).id, Mode.READ)
    remove_leftovers(cloud, host, find_leftovers(cloud, is_alive))
    assert (list(cloud.volumes()), host.disconnected) == ([], [])


@pytest.mark.parametrize("status", ["creating", "deleting", "error_deleting"])
def test_a_stuck_volume_is_told_with_its_state_and_the_rest_goes(cloud: FakeCloud, source: str, status: str) -> None:
    snapshot, _ = leave(cloud, source, DEAD)
    stuck = cloud.create_volume(VolumeSpec("stuck", 1, metadata=DEAD.tags)).id
    cloud.set_status(stuck, status)
    removal = remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive))
    (kept,) = removal.kept
    assert kept.what == f"volume {stuck}"
    assert status in kept.reason
    assert f"volume snapshot {snapshot}" in removal.removed


def test_a_volume_that_cannot_be_disconnected_keeps_its_attachment(cloud: FakeCloud, source: str) -> None:
    connector = FakeConnector(cloud.records)
    connector.faults.fail("disconnect", AttachError("device is busy"))
    _, clone = leave(cloud, source, DEAD)
    removal = remove_leftovers(cloud, connector, find_leftovers(cloud, is_alive))
    assert [kept.reason for kept in removal.kept if kept.what == f"volume {clone}"] == ["device is busy"]
    assert len(cloud.attachments(clone)) == 1


def test_a_leftover_that_somebody_gave_to_a_server_is_left_alone(cloud: FakeCloud, host: FakeFormerHost) -> None:
    volume = cloud.create_volume(VolumeSpec("half restored", 1, metadata=DEAD.tags))
    attachment = cloud.create_attachment(volume.id, Mode.WRITE)
    cloud.give_to_server(attachment.id, "server-1")
    (kept,) = remove_leftovers(cloud, host, find_leftovers(cloud, is_alive)).kept
    assert "server-1" in kept.reason
    assert (len(cloud.attachments(volume.id)), host.disconnected) == (1, [])


def test_nothing_left_is_false() -> None:
    assert not Leftovers()


# Groups and transfers


def leave_group(cloud: Cloud, *, description: str = "") -> tuple[str, str]:
    """An unfinished group and its unfinished member."""
    group = cloud.create_group(GroupSpec("group", "consistent", (TYPE,), f"{DEAD.mark} {description}"))
    member = cloud.create_volume(VolumeSpec("member", 1, volume_type=TYPE, group_id=group.id, metadata=DEAD.tags))
    return group.id, member.id


def test_unfinished_groups_go_with_their_members_group_snapshots_and_transfers(cloud: FakeCloud) -> None:
    group, member = leave_group(cloud)
    taken = cloud.create_group_snapshot(group, name="s", description=DEAD.mark).id
    given = [cloud.create_volume(VolumeSpec("given", 1, metadata=run.tags)).id for run in (DEAD, LIVE)]
    offered = cloud.create_transfer(given[0], name=DEAD.mark)
    cloud.create_group_snapshot(group, name="s", description=LIVE.mark)
    cloud.create_transfer(given[1], name=LIVE.mark)
    found = find_leftovers(cloud, is_alive)
    assert [each.id for each in found.made] == [offered.id, member, given[0], taken, group]
    assert found.runs == (DEAD.id,)


def test_they_are_removed_each_before_what_it_hangs_on(cloud: FakeCloud, source: str) -> None:
    group, member = leave_group(cloud)
    cloud.add_to_group(group, source)
    taken = cloud.create_group_snapshot(group, name="s", description=DEAD.mark)
    cloud.remove_from_group(source)
    clone = cloud.create_clone(taken.snapshots[0], name="c", metadata=DEAD.tags).id
    offered = cloud.create_transfer(clone, name=DEAD.mark)
    removal = remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive))
    assert removal.removed[:2] == (f"transfer {offered.id}", f"volume {clone}")
    assert removal.removed[2:] == (f"group snapshot {taken.id}", f"group {group}")
    assert [kept.what for kept in removal.kept] == [f"volume {member}"]


def test_the_offer_of_a_finished_volume_stays(cloud: FakeCloud) -> None:
    volume = cloud.create_volume(VolumeSpec("given", 1, metadata=DEAD.tags)).id
    cloud.create_transfer(volume, name=DEAD.mark)
    cloud.untag_volume(volume)
    assert not find_leftovers(cloud, is_alive)


def test_a_group_with_finished_members_stays_and_gets_its_description_back(cloud: FakeCloud) -> None:
    group, member = leave_group(cloud, description="of a database")
    cloud.untag_volume(member)
    removal = remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive))
    assert removal.removed == (f"mark of group {group}",)
    assert (cloud.get_group(group).description, cloud.get_group(group).volume_ids) == ("of a database", (member,))


def test_an_administrator_finds_what_is_left_in_all_projects(cloud: FakeCloud, admin: FakeCloud, source: str) -> None:
    snapshot, clone = leave(cloud, source, DEAD)
    _, member = leave_group(cloud)
    own = admin.create_snapshot(source, name="s", metadata=DEAD.tags).id
    found = find_leftovers(admin, is_alive)
    assert ({v.id for v in found.volumes}, {s.id for s in found.snapshots}) == ({clone, member}, {snapshot, own})
    assert remove_leftovers(admin, FakeFormerHost(), found).kept == ()
    assert ([v.id for v in cloud.volumes()], list(admin.all_snapshots()), list(cloud.groups())) == ([source], [], [])


@pytest.mark.parametrize("status", ["creating", "deleting", "error_deleting"])
def test_an_administrator_removes_what_is_stuck(cloud: FakeCloud, admin: FakeCloud, source: str, status: str) -> None:
    group = cloud.create_group(GroupSpec("of somebody", "consistent", (TYPE,))).id
    cloud.add_to_group(group, source)
    stuck = {
        cloud.create_group_snapshot(group, name="s", description=DEAD.mark).id,
        cloud.create_group(GroupSpec("half made", "consistent", (TYPE,), DEAD.mark)).id,
        cloud.create_snapshot(source, name="s", metadata=DEAD.tags).id,
        cloud.create_volume(VolumeSpec("c", 1, metadata=DEAD.tags)).id,
    }
    for each in stuck:
        cloud.set_status(each, status)
    refused = remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive))
    assert {kept.what.split()[-1] for kept in refused.kept} == stuck
    removal = remove_leftovers(admin, FakeFormerHost(), find_leftovers(admin, is_alive))
    assert ({what.split()[-1] for what in removal.removed}, removal.kept) == (stuck, ())
    assert [v.id for v in admin.all_volumes()] == [source]
