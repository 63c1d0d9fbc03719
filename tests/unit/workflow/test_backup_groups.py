"""Backing up groups: all members as of one moment, from one group snapshot that never stays."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.unit.workflow.conftest import World
from tests.unit.workflow.grouping import Groups

from icebrick.blockdev import Data
from icebrick.cloud.base import GroupSnapshot
from icebrick.cloud.servers import ServerAttachment
from icebrick.engine.block.restore import dump_image
from icebrick.errors import AttachError, CloudError, CloudUnavailableError, UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeservers import start_server
from icebrick.testing.faultplan import FaultPlan
from icebrick.workflow.images import Images
from icebrick.workflow.naming import group_tags
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.points import group_points
from icebrick.workflow.scope import Scope, ScopeKind

PATIENCE = 20.0  # seconds; only a test that fails waits so long


@pytest.fixture
def groups(world: World) -> Groups:
    return Groups(world)


def tell_as_administrator(world: World) -> None:
    object.__setattr__(world, "cloud", FakeCloud(world.cloud.records, admin=True))


def calls(world: World, name: str) -> int:
    return world.cloud.faults.calls.count(name)


def first_bytes(images: Images, snapshot: Snapshot) -> bytes:
    """Up to the last that is not zero, of the first MiB."""
    found = bytearray()

    def collect(data: Data) -> None:
        if not found:
            found.extend(data)

    dump_image(images.find(snapshot), images.store, collect)
    return bytes(found).rstrip(b"\0")


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_all_members_are_of_one_group_snapshot_that_is_gone_afterwards(world: World, groups: Groups, jobs: int) -> None:
    group = groups.make(3)
    before = world.resources()
    report = groups.back_up(group, jobs=jobs)
    assert [backup.path for backup in report.backups] == [f"/cinder/{member}" for member in group.volume_ids]
    assert (report.failures, report.leftovers) == ((), ())
    assert (calls(world, "create_group_snapshot"), calls(world, "create_snapshot")) == (1, 0)
    assert world.resources() == before
    (told,) = report.groups
    assert (told.group_id, told.name, told.members, told.backed_up, told.complete) == (group.id, "db", 3, 3, True)
    (point,) = group_points(world.snapshots())
    assert point.is_complete
    assert (point.group_id, point.group_snapshot_id) == (group.id, told.group_snapshot_id)
    times = {snapshot.time for snapshot in world.snapshots()}
    assert len(times) == 1, "they are as of one moment"


def test_what_is_written_after_the_group_snapshot_is_in_no_member(world: World, groups: Groups) -> None:
    group = groups.make(3)

    class Writing(FakeCloud):
        """Whoever uses the volumes goes on writing as soon as the first is being cloned."""

        def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> GroupSnapshot:
            taken = super().create_group_snapshot(group_id, name=name, description=description)
            for member in group.volume_ids:
                self.content(member).write(0, b"too late")
            return taken

    wanted = {member: world.content(member) for member in group.volume_ids}
    object.__setattr__(world, "cloud", Writing(world.cloud.records))
    assert groups.back_up(group, jobs=1).groups[0].complete
    with world.run() as (_, images):
        for snapshot in images.snapshots:
            assert first_bytes(images, snapshot) == wanted[snapshot.paths[0].rpartition("/")[2]]


def test_tags_and_records_tell_of_the_group(world: World, groups: Groups) -> None:
    group = groups.make(2)
    (told,) = groups.back_up(group).groups
    with world.run() as (_, images):
        for snapshot in images.snapshots:
            assert set(group_tags(group.id, told.group_snapshot_id or "", 2)) <= set(snapshot.tags)
            recorded = images.record(snapshot).group
            assert recorded is not None
            assert recorded.group_snapshot_id == told.group_snapshot_id
            assert recorded.group == replace(group, status="", project_id="")


def test_an_administrator_is_told_whether_the_group_is_of_one_instant_and_a_member_that_nobody_knows(
    world: World, groups: Groups
) -> None:
    strong, weak = groups.make(1), groups.make(1, "independent")
    assert [told.consistent for told in groups.back_up(strong, weak).groups] == [None, None]
    tell_as_administrator(world)
    report = groups.back_up(strong, weak)
    assert [(told.consistent, told.complete) for told in report.groups] == [(True, True), (False, True)]
    with world.run() as (_, images):
        recorded = [images.record(snapshot).group for snapshot in images.snapshots]
        assert sorted(str(each and each.group.consistent) for each in recorded) == ["False", "None", "None", "True"]


def test_a_member_that_fails_leaves_an_incomplete_point_and_the_others_are_restorable_by_themselves(
    world: World, groups: Groups
) -> None:
    group = groups.make(3)
    before = world.resources()
    world.cloud.faults.fail("create_clone", CloudError("no clone"))
    report = groups.back_up(group)
    (failure,) = report.failures
    assert (failure.message, failure.group_id) == ("no clone", group.id)
    (told,) = report.groups
    assert (told.members, told.backed_up, told.complete) == (3, 2, False)
    (point,) = group_points(world.snapshots())
    assert (len(point.members), point.size, point.is_complete) == (2, 3, False)
    assert world.resources() == before


def test_a_group_snapshot_that_cannot_be_taken_is_asked_for_once_and_is_every_members_failure(
    world: World, groups: Groups
) -> None:
    group, other = groups.make(3), world.make_volume(b"alone")
    world.cloud.set_status(group.volume_ids[0], "in-use")
    world.cloud.faults.fail("create_group_snapshot", CloudError("the back end refused"))
    report = groups.back_up(group)
    assert {failure.volume_id for failure in report.failures} == set(group.volume_ids)
    assert {failure.message for failure in report.failures} == {"the back end refused"}
    assert calls(world, "create_group_snapshot") == 1
    assert report.groups[0].group_snapshot_id is None
    assert not report.groups[0].complete
    assert len(world.back_up(other.id).backups) == 1


def test_a_group_that_is_empty_or_not_there_is_named(world: World, groups: Groups) -> None:
    empty, good = groups.make(0), groups.make(1)
    report = groups.back_up(empty, replace(empty, id="absent"), good)
    assert [failure.subject for failure in report.failures] == [f"group {empty.id}", "group absent"]
    assert [told.complete for told in report.groups] == [True]


def test_a_member_in_a_wrong_state_is_named_and_so_are_those_it_holds_up(world: World, groups: Groups) -> None:
    group = groups.make(3)
    world.cloud.set_status(group.volume_ids[1], "error")
    report = groups.back_up(group)
    assert {failure.volume_id for failure in report.failures} == set(group.volume_ids)
    assert all(failure.group_id == group.id for failure in report.failures)
    assert all(group.volume_ids[1] in failure.message for failure in report.failures)
    assert not report.groups[0].complete


def test_without_an_excluded_member_there_is_no_restore_point(world: World, groups: Groups) -> None:
    group = groups.make(3)
    report = groups.back_up(group, excluded=group.volume_ids[:1])
    assert report.failures == ()
    assert (report.groups[0].backed_up, report.groups[0].members, report.groups[0].complete) == (2, 3, False)
    assert [point.is_complete for point in group_points(world.snapshots())] == [False]


def changing(world: World, change: Callable[[], object]) -> None:
    """Somebody changes the group between its being looked up and its being frozen."""

    class Changing(FakeCloud):
        def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> GroupSnapshot:
            change()
            return super().create_group_snapshot(group_id, name=name, description=description)

    object.__setattr__(world, "cloud", Changing(world.cloud.records))


def test_a_volume_that_joins_in_the_last_moment_makes_the_point_incomplete(world: World, groups: Groups) -> None:
    group = groups.make(2)
    changing(world, lambda: groups.add(group))
    report = groups.back_up(group)
    assert report.failures == ()
    assert (report.groups[0].backed_up, report.groups[0].members, report.groups[0].complete) == (2, 3, False)


def test_a_volume_that_leaves_in_the_last_moment_is_a_failure_and_the_rest_are_a_point(
    world: World, groups: Groups
) -> None:
    group = groups.make(3)
    changing(world, lambda: world.cloud.remove_from_group(group.volume_ids[0]))
    report = groups.back_up(group)
    (failure,) = report.failures
    assert failure.message == f"volume {group.volume_ids[0]} is no longer in group {group.id}"
    assert (report.groups[0].backed_up, report.groups[0].members, report.groups[0].complete) == (2, 2, True)


def test_in_a_quota_for_the_group_snapshot_and_one_clone_the_members_wait_for_each_other(
    world: World, groups: Groups
) -> None:
    group = groups.make(4)
    world.cloud.records.quota = 4 + 4 + 1
    report = groups.back_up(group)
    assert (len(report.backups), report.failures) == (4, ())
    assert calls(world, "create_group_snapshot") == 1
    assert report.groups[0].complete


@pytest.mark.parametrize("jobs", [2, 4])
def test_groups_whose_snapshots_leave_no_room_for_clones_give_way_to_each_other(
    world: World, groups: Groups, jobs: int
) -> None:
    first, second = (groups.make(jobs // 2) for _ in range(2))
    before = world.resources()
    world.cloud.records.quota = jobs + jobs
    both_taken = threading.Barrier(2)

    class Meeting(FakeCloud):
        def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> GroupSnapshot:
            taken = super().create_group_snapshot(group_id, name=name, description=description)
            if calls(world, "create_group_snapshot") <= 2:
                both_taken.wait(PATIENCE)
            return taken

    object.__setattr__(world, "cloud", Meeting(world.cloud.records))
    report = groups.back_up(first, second, jobs=jobs)
    assert report.failures == ()
    assert [told.complete for told in report.groups] == [True, True]
    assert world.resources() == before


def test_a_quota_too_small_for_the_group_is_every_members_failure_and_leaves_nothing(
    world: World, groups: Groups
) -> None:
    group = groups.make(3)
    before = world.resources()
    world.cloud.records.quota = 3 + 2
    report = groups.back_up(group)
    assert {failure.volume_id for failure in report.failures} == set(group.volume_ids)
    assert all("quota" in failure.message for failure in report.failures)
    assert world.resources() == before


def test_by_the_wish_to_end_the_group_snapshot_goes_although_members_never_began(world: World, groups: Groups) -> None:
    group = groups.make(3)
    before = world.resources()
    host = new_capacity(1, threads=2)

    class Stopping(FakeCloud):
        def create_clone(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
            host.stop.ask()
            return super().create_clone(*arguments, **named)  # type: ignore[arg-type]

    object.__setattr__(world, "cloud", Stopping(world.cloud.records))
    report = world.back_up_scope(Scope(ScopeKind.GROUPS, (group.id,)), capacity=host)
    assert report.interrupted
    assert report.not_begun == group.volume_ids[1:]
    assert not report.groups[0].complete
    assert world.resources() == before


def test_a_group_snapshot_that_cannot_be_deleted_is_told_and_spoils_nothing(world: World, groups: Groups) -> None:
    group = groups.make(2)
    before = world.resources()
    world.cloud.faults.fail("delete_group_snapshot", CloudError("busy"))
    report = groups.back_up(group)
    assert (len(report.backups), report.failures) == (2, ())
    (left,) = report.leftovers
    assert left.startswith("group snapshot ")
    with world.run():
        assert world.resources() == before  # the next run removes it


def test_cold_members_leave_their_servers_until_all_are_frozen(world: World, groups: Groups) -> None:
    group, root = groups.make(2), world.make_volume()
    server = start_server(world.cloud.records, root.id)
    for member in group.volume_ids:
        world.cloud.servers().attach(ServerAttachment(server.id, member))
    before = len(world.cloud.faults.calls)
    world.back_up_scope(Scope(ScopeKind.GROUPS, (group.id,)), cold=True)
    steps = ("detach_server", "create_group_snapshot", "attach_server", "create_clone")
    made = [call for call in world.cloud.faults.calls[before:] if call in steps]
    assert made == ["detach_server"] * 2 + ["create_group_snapshot"] + ["attach_server"] * 2 + ["create_clone"] * 2


def test_a_users_tag_that_would_pass_for_a_groups_is_refused_before_anything_is_made(
    world: World, groups: Groups
) -> None:
    group = groups.make(1)
    with pytest.raises(UsageError, match="icebrick's own"):
        world.back_up_scope(Scope(ScopeKind.GROUPS, (group.id,)), tags=("members:1",))
    assert calls(world, "create_group_snapshot") == 0


CALLS = ("create_group_snapshot", "create_clone", "create_attachment", "complete_attachment", "delete_group_snapshot")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_fails_a_group_is_a_complete_point_or_said_to_be_none(world: World, groups: Groups, seed: int) -> None:
    chance = random.Random(seed)
    made = [groups.make(3), groups.make(2), groups.make(1)]
    before = world.resources()
    for _ in range(chance.randrange(1, 4)):
        error = CloudUnavailableError("no answer")
        world.cloud.faults.fail(chance.choice(CALLS), error, after=chance.random() < 0.5, skip=chance.randrange(5))
    world.connector.faults.fail("open_source", AttachError("no device"), skip=chance.randrange(9))
    world.cloud.records.quota = 6 + chance.choice((6, 8, 100))
    report = groups.back_up(*made, jobs=chance.randrange(1, 6))
    assert len(report.backups) + len(report.failures) == 6
    complete = {point.group_id for point in group_points(world.snapshots()) if point.is_complete}
    assert complete == {told.group_id for told in report.groups if told.complete}
    for told in report.groups:
        assert told.complete == (told.group_id not in {failure.group_id for failure in report.failures})
    world.cloud.faults, world.connector.faults = FaultPlan(), FaultPlan()
    with world.run():
        assert world.resources() == before
