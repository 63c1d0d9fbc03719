"""Restoring groups: all members come back as of one moment, or nothing of them stays."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.unit.workflow.conftest import World
from tests.unit.workflow.grouping import TYPE, Groups

from icebrick.cloud.base import Group
from icebrick.errors import AttachError, CloudError, CloudUnavailableError, QuotaError, UsageError
from icebrick.run import RUN_KEY, find_mark
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.faultplan import FaultPlan
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.outcome import VolumesReport, Way
from icebrick.workflow.scope import Scope, ScopeKind
from icebrick.workflow.select import Selection


@pytest.fixture
def groups(world: World) -> Groups:
    return Groups(world)


@pytest.fixture
def group(groups: Groups) -> Group:
    """With three members, backed up."""
    made = groups.make(3)
    assert groups.back_up(made).groups[0].complete
    return made


def everything(world: World) -> set[str]:
    return world.resources() | set(world.cloud.records.groups)


def assert_content(world: World, report: VolumesReport, group: Group) -> None:
    """Of each member what it was made with."""
    assert {restored.source_id for restored in report.restores} == set(group.volume_ids)
    contents = sorted(world.content(restored.volume_id).rstrip(b"\0") for restored in report.restores)
    assert contents == [bytes([number + 1]) * 4096 for number in range(len(group.volume_ids))]


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_group_that_is_gone_is_made_again_with_all_its_members(
    world: World, groups: Groups, group: Group, jobs: int
) -> None:
    groups.lose(group)
    report = groups.restore(group, jobs=jobs, verify=True)
    assert (report.failures, report.leftovers) == ((), ())
    assert_content(world, report, group)
    (told,) = report.groups
    assert (told.source_id, told.members, told.restored) == (group.id, 3, True)
    made = world.cloud.get_group(told.new_group_id or "")
    assert made == replace(
        group, id=made.id, volume_ids=tuple(sorted(restored.volume_id for restored in report.restores))
    )
    for restored in report.restores:
        volume = world.cloud.get_volume(restored.volume_id)
        assert RUN_KEY not in volume.metadata
        assert restored.way is Way.NEW
        assert [each.reason for each in restored.not_restored if each.attribute == "group_id"] == [
            f"the new group {made.id} is in its place"
        ]
    with world.run():
        assert world.cloud.find_group(made.id) == made, "it is no leftover"


def test_while_the_group_and_its_volumes_exist_copies_are_made_that_are_in_no_group(
    world: World, groups: Groups, group: Group
) -> None:
    for member in group.volume_ids:
        world.cloud.content(member).write(0, b"later")
    report = groups.restore(group)
    assert_content(world, report, group)
    assert report.groups[0].new_group_id is None
    for restored in report.restores:
        assert restored.way is Way.COPY
        assert world.cloud.get_volume(restored.volume_id).group_id is None
        assert [each.reason for each in restored.not_restored] == ["a copy is in no group"]
    assert world.cloud.get_group(group.id) == group


def test_members_that_are_gone_from_a_group_that_exists_come_back_into_it(
    world: World, groups: Groups, group: Group
) -> None:
    lost, *others = group.volume_ids
    groups.lose(group, lost)
    report = groups.restore(group)
    assert_content(world, report, group)
    (new,) = [restored.volume_id for restored in report.restores if restored.source_id == lost]
    assert set(world.cloud.get_group(group.id).volume_ids) == {new, *others}
    assert report.groups[0].new_group_id is None


def test_volumes_that_outlived_their_group_are_copied_into_the_new_one(
    world: World, groups: Groups, group: Group
) -> None:
    for member in group.volume_ids:
        world.cloud.remove_from_group(member)
    world.cloud.delete_group(group.id)
    report = groups.restore(group)
    assert_content(world, report, group)
    assert {restored.way for restored in report.restores} == {Way.COPY}
    made = world.cloud.get_group(report.groups[0].new_group_id or "")
    assert set(made.volume_ids) == {restored.volume_id for restored in report.restores}
    assert all(world.cloud.get_volume(member).group_id is None for member in group.volume_ids)


def test_the_newest_complete_point_is_taken_and_no_member_of_another(
    world: World, groups: Groups, group: Group
) -> None:
    for member in group.volume_ids:
        world.cloud.content(member).write(0, b"later")
    world.cloud.faults.fail("create_clone", CloudError("no clone"))
    assert not groups.back_up(group).groups[0].complete
    report = groups.restore(group)
    assert_content(world, report, group)


@pytest.mark.parametrize(
    ("gone", "call", "skip"),
    [
        (True, "create_group", 0),
        (True, "create_volume", 2),
        (True, "complete_attachment", 2),
        (True, "apply_settings", 2),
        (True, "add_to_group", 2),
        (False, "create_snapshot", 2),
        (False, "create_clone", 2),
        (False, "apply_settings", 2),
    ],
)
def test_if_one_member_fails_nothing_of_the_others_stays(
    world: World, groups: Groups, group: Group, call: str, skip: int, gone: bool
) -> None:
    if gone:
        groups.lose(group)
    before = everything(world)
    world.cloud.faults.fail(call, CloudError("not possible"), skip=skip)
    report = groups.restore(group, jobs=2)
    assert report.restores == ()
    assert {failure.volume_id for failure in report.failures} == set(group.volume_ids)
    assert all(failure.group_id == group.id and "not possible" in failure.message for failure in report.failures)
    assert not report.groups[0].restored
    assert report.groups[0].new_group_id is None
    assert report.leftovers == ()
    assert everything(world) == before


def test_a_group_type_that_is_not_there_is_named_before_any_volume_is_made(
    world: World, groups: Groups, group: Group
) -> None:
    groups.lose(group)
    world.cloud.records.group_types = {"other": True}
    report = groups.restore(group, jobs=1)
    assert report.restores == ()
    assert "group type consistent could not be found" in report.failures[0].message
    assert "--map-type consistent=NEW" in (report.failures[0].hint or "")
    assert "create_volume" not in world.cloud.faults.calls[-30:]
    report = groups.restore(group, map_type={"consistent": "other"})
    assert world.cloud.get_group(report.groups[0].new_group_id or "").group_type == "other"


def test_a_member_whose_type_is_not_there_stops_the_group_before_anything_is_made(
    world: World, groups: Groups, group: Group
) -> None:
    groups.lose(group)
    before = everything(world)
    world.cloud.records.volume_types = {"fast"}
    report = groups.restore(group)
    assert report.restores == ()
    assert f"--map-type {TYPE}=NEW" in (report.failures[0].hint or "")
    assert everything(world) == before
    report = groups.restore(group, map_type={TYPE: "fast"})
    assert world.cloud.get_group(report.groups[0].new_group_id or "").volume_types == ("fast",)
    assert_content(world, report, group)


def test_what_a_killed_restore_of_a_group_made_is_removed_by_the_next_run(
    world: World, groups: Groups, group: Group
) -> None:
    groups.lose(group)
    before = everything(world)
    world.cloud.faults.fail("apply_settings", SystemExit(), skip=2)
    for call in ("delete_volume", "delete_group", "remove_from_group"):
        world.cloud.faults.fail(call, SystemExit(), times=99)
    with pytest.raises(SystemExit):
        groups.restore(group, jobs=1)
    assert [find_mark(each.description) is not None for each in world.cloud.groups()] == [True]
    world.cloud.faults = FaultPlan()
    with world.run():
        assert everything(world) == before


def test_by_the_wish_to_end_nothing_stays_of_a_group_that_is_not_complete(
    world: World, groups: Groups, group: Group
) -> None:
    groups.lose(group)
    before = everything(world)
    host = new_capacity(1, threads=2)

    class Stopping(FakeCloud):
        def untag_volume(self, volume_id: str) -> None:
            raise AssertionError("nothing is finished")

        def apply_settings(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
            host.stop.ask()
            return super().apply_settings(*arguments, **named)  # type: ignore[arg-type]

    object.__setattr__(world, "cloud", Stopping(world.cloud.records))
    report = world.run_restore(RestoreRequest(Scope(ScopeKind.GROUPS, (group.id,))), capacity=host)
    assert report.interrupted
    assert report.restores == ()
    assert len(report.not_begun) == 2
    assert everything(world) == before


def test_a_member_that_cannot_be_finished_is_told_and_the_others_stay(
    world: World, groups: Groups, group: Group
) -> None:
    groups.lose(group)
    world.cloud.faults.fail("untag_volume", CloudError("no answer"))
    report = groups.restore(group)
    (failure,) = report.failures
    assert "complete but still marked as unfinished" in failure.message
    assert "Remove the metadata key" in (failure.hint or "")
    assert len(report.restores) == 2
    assert report.groups[0].restored


def test_in_a_quota_too_small_for_all_members_none_is_restored(world: World, groups: Groups, group: Group) -> None:
    groups.lose(group)
    before = everything(world)
    world.cloud.records.quota = 2
    report = groups.restore(group)
    assert report.restores == ()
    assert {failure.volume_id for failure in report.failures} == set(group.volume_ids)
    assert any("quota" in failure.message for failure in report.failures)
    assert everything(world) == before


def test_members_wait_for_what_others_need_only_for_a_while(world: World, groups: Groups, group: Group) -> None:
    groups.lose(group)
    world.cloud.faults.fail("create_volume", QuotaError("in use for a moment"), skip=1, times=2)
    report = groups.restore(group)
    assert report.failures == ()
    assert report.groups[0].restored


def test_a_volume_that_is_replaced_in_a_new_group_is_removed_when_the_group_is_complete(
    world: World, groups: Groups, group: Group
) -> None:
    for member in group.volume_ids:
        world.cloud.remove_from_group(member)
    world.cloud.delete_group(group.id)
    report = groups.restore(group, remove_old=True, verify=True)
    assert {restored.removed_volume_id for restored in report.restores} == set(group.volume_ids)
    assert not set(group.volume_ids) & set(world.cloud.records.volumes)


def test_a_group_cannot_be_restored_in_place() -> None:
    with pytest.raises(UsageError, match="whole or not at all"):
        RestoreRequest(Scope(ScopeKind.GROUPS, ("g",)), Selection(), in_place=True)


CALLS = ("create_volume", "create_group", "create_attachment", "complete_attachment", "apply_settings", "add_to_group")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_fails_a_group_is_whole_or_gone(world: World, groups: Groups, seed: int) -> None:
    chance = random.Random(seed)
    made = [groups.make(3), groups.make(2)]
    assert len(groups.back_up(*made).backups) == 5
    for group in made:
        groups.lose(group)
    before = everything(world)
    for _ in range(chance.randrange(1, 3)):
        error = CloudUnavailableError("no answer")
        world.cloud.faults.fail(chance.choice(CALLS), error, after=chance.random() < 0.5, skip=chance.randrange(4))
    world.connector.faults.fail("open_target", AttachError("no device"), skip=chance.randrange(9))
    world.cloud.records.quota = chance.choice((3, 4, 100))
    report = groups.restore(*made, jobs=chance.randrange(1, 6))
    assert len(report.restores) + len(report.failures) == 5
    world.cloud.faults, world.connector.faults = FaultPlan(), FaultPlan()
    with world.run():
        left = everything(world) - before
    whole = [told for told in report.groups if told.restored]
    assert left == {restored.volume_id for restored in report.restores} | {told.new_group_id for told in whole}
    assert sum(told.members for told in whole) == len(report.restores)
