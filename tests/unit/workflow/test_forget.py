"""Which snapshots are forgotten of which group, and what that would break."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from icebrick.backend.memory import MemoryBackend
from icebrick.errors import SnapshotMissingError, UsageError
from icebrick.repository.repository import Repository, init_repository
from icebrick.repository.retention import Period, Policy
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import NANOSECONDS, Timestamp
from icebrick.secret import Secret
from icebrick.testing.repositories import CHEAP, add_tree
from icebrick.workflow.forget import ForgetPlan, parse_grouping, plan_forget, plan_forget_named, run_forget
from icebrick.workflow.naming import group_tags, volume_path

DAY = 86_400
NOW = Timestamp(1000 * DAY * NANOSECONDS)
LAST = Policy({Period.LAST: 1})


def backup(volume: str, day: int, *, host: str = "cinder", tags: Sequence[str] = ()) -> Snapshot:
    moment = Timestamp(day * DAY * NANOSECONDS)
    return Snapshot(moment, bytes(32), (volume_path(volume),), host, tags=tuple(tags), id=f"{day:03x}{volume}")


def member(volume: str, day: int) -> Snapshot:
    """Of a group of a and b."""
    return backup(volume, day, tags=group_tags("g", f"taken-{day}", 2))


def plan(there: Sequence[Snapshot], policy: Policy = LAST, *, grouping: str = "host,paths") -> ForgetPlan:
    return plan_forget(there, lambda _: True, policy, grouping=parse_grouping(grouping), now=NOW)


def removed(made: ForgetPlan) -> set[str | None]:
    return {snapshot.id for snapshot in made.removed}


def test_each_volume_is_judged_by_itself() -> None:
    there = [backup("a", 1), backup("a", 2), backup("b", 1)]
    assert removed(plan(there)) == {"001a"}


def test_without_a_grouping_all_are_judged_together() -> None:
    there = [backup("a", 1), backup("a", 2), backup("b", 1)]
    assert removed(plan(there, grouping="")) == {"001a", "001b"}


def test_groups_can_be_those_of_tags() -> None:
    there = [backup("a", 1, tags=["x", "y"]), backup("b", 2, tags=["y", "x"]), backup("b", 3)]
    assert removed(plan(there, grouping="tags")) == {"001a"}


def test_only_what_is_asked_for_is_judged() -> None:
    there = [backup("a", 1), backup("a", 2), backup("b", 1), backup("b", 2)]
    made = plan_forget(there, lambda each: each.paths == ("/cinder/b",), LAST, grouping=frozenset(), now=NOW)
    assert removed(made) == {"001b"}


def test_to_keep_nothing_by_an_empty_policy_is_an_error() -> None:
    with pytest.raises(UsageError, match="no policy"):
        plan([backup("a", 1)], Policy())


def test_a_word_that_is_no_grouping_is_an_error() -> None:
    with pytest.raises(UsageError, match="'volume'"):
        parse_grouping("host,volume")


def test_a_restore_point_of_which_one_volume_stays_stays_whole() -> None:
    there = [member("a", 1), member("b", 1), backup("b", 2)]
    made = plan(there)
    assert removed(made) == set()
    reasons = [verdict.reasons for group in made.groups for verdict in group.verdicts if verdict.snapshot.id == "001b"]
    assert reasons == [("other volumes of restore point taken-1 of group g stay",)]


def test_a_restore_point_that_nothing_keeps_is_forgotten_whole() -> None:
    there = [member("a", 1), member("b", 1), member("a", 2), member("b", 2)]
    made = plan(there)
    assert removed(made) == {"001a", "001b"}
    assert made.warnings == ()


def test_a_restore_point_that_is_not_complete_holds_nothing_back() -> None:
    there = [backup("a", 1, tags=group_tags("g", "t", 3)), backup("b", 1, tags=group_tags("g", "t", 3)), backup("b", 2)]
    assert removed(plan(there)) == {"001b"}


def test_to_tear_a_restore_point_apart_by_id_is_told() -> None:
    there = [member("a", 1), member("b", 1)]
    made = plan_forget_named(there, ["001a"])
    assert removed(made) == {"001a"}
    assert [warning for warning in made.warnings if "will lack 1 of 2 volumes" in warning]


def test_what_lies_in_the_future_is_told() -> None:
    assert [warning for warning in plan([backup("a", 2000)]).warnings if "2000" not in warning and "future" in warning]


def test_to_forget_all_of_a_group_by_a_policy_is_refused() -> None:
    made = plan([backup("a", 1), backup("a", 2)], Policy(tags=(("x",),)))
    with pytest.raises(UsageError, match="all 2 snapshots of host cinder, path /cinder/a"):
        made.refuse_removing_all()


def test_a_backup_from_the_future_does_not_count_as_one_that_stays() -> None:
    made = plan([backup("a", 1), backup("a", 2000)], Policy(tags=(("x",),)))
    with pytest.raises(UsageError, match="all 1 snapshots"):
        made.refuse_removing_all()


@pytest.mark.parametrize("prefix", ["", "00", "ff"])
def test_an_id_that_names_none_or_several_forgets_nothing(prefix: str) -> None:
    with pytest.raises(SnapshotMissingError):
        plan_forget_named([backup("a", 1), backup("b", 2)], [prefix])


@pytest.fixture
def repository() -> Repository:
    return init_repository(MemoryBackend(), Secret("geheim"), parameters=CHEAP)


def test_what_is_planned_is_removed_and_nothing_else(repository: Repository) -> None:
    ids = [add_tree(repository, {"file": b"x"}, second) for second in range(4)]
    made = plan(list(repository.snapshots()), Policy({Period.LAST: 3}))
    run_forget(repository, made)
    assert [snapshot.id for snapshot in repository.snapshots()] == ids[1:]
