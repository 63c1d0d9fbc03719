"""What dead runs left goes; what anyone may be using stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.workflow.conftest import HOST, World

from icebrick.app import project_run
from icebrick.cloud.base import Mode, Project, VolumeSpec
from icebrick.errors import CloudUnavailableError, UsageError
from icebrick.run import Run
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakerecords import ALPHA, BETA, SERVICE
from icebrick.workflow.cleanup import clean_up_first, joined_plans, plan_cleanup, run_cleanup
from icebrick.workflow.living import Life

RUN = Run("20261123T061500Z-1f2e3d4c", HOST)
FOREIGN = Run("20261123T061500Z-1f2e3d4c", "elsewhere")


class Killed(BaseException):
    """Stands for SIGKILL: see `leave_behind`."""


def leave_behind(world: World, run: Run) -> set[str]:
    """What a run that was killed while it read its clone leaves: a snapshot, a clone, an attachment."""
    before = world.resources()
    volume = world.make_volume(b"data")
    snapshot = world.cloud.create_snapshot(volume.id, name="s", metadata=run.tags)
    clone = world.cloud.create_clone(snapshot, name="c", metadata=run.tags)
    attachment = world.cloud.create_attachment(clone.id, Mode.READ)
    world.cloud.connect_attachment(attachment.id, world.connector.properties(), Mode.READ)
    world.connector.connected.add(attachment.id)
    return world.resources() - before - {volume.id}


def dead(world: World, run: Run) -> set[str]:
    with pytest.raises(Killed), world.registry.living(run, scope=world.cloud.project().id):
        left = leave_behind(world, run)
        raise Killed
    return left


def test_leftovers_of_a_dead_run_of_this_host_are_removed(world: World) -> None:
    left = dead(world, RUN)
    assert len(left) == 3
    plan = plan_cleanup(world.cloud, world.registry)
    report = run_cleanup(plan, world.cloud, world.connector, world.registry)
    assert len(report.removed) == 2
    assert left & world.resources() == set()
    assert world.connector.connected == set()


def test_the_volume_that_was_backed_up_stays(world: World) -> None:
    dead(world, RUN)
    run_cleanup(plan_cleanup(world.cloud, world.registry), world.cloud, world.connector, world.registry)
    assert [volume.name for volume in world.cloud.volumes()] == ["disk"]


def test_a_plan_removes_nothing(world: World) -> None:
    left = dead(world, RUN)
    plan = plan_cleanup(world.cloud, world.registry)
    assert plan.leftovers.runs == (RUN.id,)
    assert left <= world.resources()


def test_what_a_living_run_uses_stays(world: World) -> None:
    with world.registry.living(RUN, scope=""):
        left = leave_behind(world, RUN)
        clean_up_first(world.cloud, world.connector, world.registry)
        assert left <= world.resources()


def test_what_another_hosts_run_may_be_using_stays_and_is_told(world: World) -> None:
    left = leave_behind(world, FOREIGN)
    plan = plan_cleanup(world.cloud, world.registry)
    assert not plan.leftovers
    assert plan.unknown == (FOREIGN,)
    run_cleanup(plan, world.cloud, world.connector, world.registry)
    assert left <= world.resources()


def test_a_run_of_another_host_that_is_named_is_removed(world: World) -> None:
    left = leave_behind(world, FOREIGN)
    plan = plan_cleanup(world.cloud, world.registry, ended=frozenset({FOREIGN.id}))
    run_cleanup(plan, world.cloud, world.connector, world.registry)
    assert left & world.resources() == set()


def test_a_run_that_is_named_but_lives_here_is_refused(world: World) -> None:
    with world.registry.living(RUN, scope=""):
        leave_behind(world, RUN)
        with pytest.raises(UsageError, match="is at work on this host"):
            plan_cleanup(world.cloud, world.registry, ended=frozenset({RUN.id}))


def test_a_dead_run_is_not_forgotten_while_something_of_it_stays(world: World) -> None:
    dead(world, RUN)
    world.cloud.faults.fail("delete_snapshot", CloudUnavailableError("no answer"), times=99)
    clean_up_first(world.cloud, world.connector, world.registry)
    assert world.registry.life(RUN.id, HOST) is Life.DEAD


def test_a_dead_run_of_another_project_is_left_to_whoever_works_there(world: World) -> None:
    with pytest.raises(Killed), world.registry.living(RUN, scope="elsewhere"):
        raise Killed
    assert plan_cleanup(world.cloud, world.registry).dead == ()


def seen_by(world: World, project: Project, *, admin: bool = False, elsewhere: tuple[Project, ...] = ()) -> World:
    return replace(world, cloud=FakeCloud(world.cloud.records, project, admin=admin, elsewhere=elsewhere))


def leave_elsewhere(world: World) -> str:
    """A run that is killed while it restores into project alpha leaves an unfinished volume there."""
    with (
        pytest.raises(Killed),
        world.run() as (access, _),
        project_run(world.host, access, ALPHA.id) as there,
    ):
        volume = there.cloud.create_volume(VolumeSpec("half", 1, metadata=there.run.tags))
        raise Killed
    assert world.cloud.records.volumes[volume.id].project_id == ALPHA.id
    return volume.id


@pytest.mark.parametrize("admin", [False, True])
def test_what_a_run_leaves_in_another_project_is_removed_by_the_next_one(world: World, admin: bool) -> None:
    agent = seen_by(world, SERVICE, admin=admin, elsewhere=(ALPHA,))
    left = leave_elsewhere(agent)
    assert len(world.registry.dead_runs()) == 2
    clean_up_first(agent.cloud, world.connector, world.registry)
    assert left not in world.resources()


def test_where_the_user_has_no_role_any_more_it_is_left_to_whoever_has(world: World) -> None:
    left = leave_elsewhere(seen_by(world, BETA, elsewhere=(ALPHA,)))
    clean_up_first(seen_by(world, BETA).cloud, world.connector, world.registry)
    assert left in world.resources()
    clean_up_first(world.cloud, world.connector, world.registry)
    assert left not in world.resources()


def test_what_an_administrator_finds_in_several_projects_is_shown_once(world: World) -> None:
    left = leave_elsewhere(seen_by(world, SERVICE, admin=True, elsewhere=(ALPHA,)))
    plan = plan_cleanup(world.cloud, world.registry)
    joined = joined_plans([plan, plan])
    assert joined == plan
    assert [volume.id for volume in joined.leftovers.volumes] == [left]


def test_a_cloud_that_does_not_answer_keeps_nobody_from_working(world: World) -> None:
    world.cloud.faults.fail("volumes", CloudUnavailableError("no answer"))
    clean_up_first(world.cloud, world.connector, world.registry)


def test_every_run_begins_by_clearing_up(world: World) -> None:
    left = dead(world, RUN)
    with world.run():
        assert left & world.resources() == set()
