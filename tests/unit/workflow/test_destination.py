"""Each project's volumes into its own repository: opened when it is needed, its failure that of its volumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
from tests.unit.workflow.conftest import CHEAP, World

from icebrick.app import cloud_run
from icebrick.backend.memory import MemoryBackend
from icebrick.cloud.base import VolumeSpec
from icebrick.errors import IcebrickError, NoRepositoryError, RepositoryLockedError, WrongPasswordError
from icebrick.progress import NO_PROGRESS
from icebrick.repository.repository import Repository, init_repository
from icebrick.secret import Secret
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakehost import FakeTime, fake_host
from icebrick.testing.fakerecords import ALPHA, BETA, SERVICE
from icebrick.workflow.backup import plan_backup, run_backup
from icebrick.workflow.destination import Destination, ProjectDestinations, opened_destination
from icebrick.workflow.naming import PROJECT, tagged
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.report import BackupReport
from icebrick.workflow.scope import Scope, ScopeKind


class Projects:
    """Two with volumes, each with a repository; an administrator backs them all up."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.repositories = {project.id: new_repository() for project in (ALPHA, BETA)}
        self.failures: dict[str, IcebrickError] = {}
        self.notes: list[tuple[str, str]] = []
        self.volumes: dict[str, list[str]] = {}
        for project in (ALPHA, BETA):
            member = FakeCloud(world.cloud.records, project)
            self.volumes[project.id] = [member.create_volume(VolumeSpec("disk", 1)).id for _ in range(3)]
        object.__setattr__(world, "cloud", FakeCloud(world.cloud.records, SERVICE, admin=True))

    def back_up(self, jobs: int) -> BackupReport:
        capacity = new_capacity(jobs, threads=2)

        @contextmanager
        def opened(project_id: str) -> Iterator[Destination]:
            if project_id in self.failures:
                raise self.failures[project_id]
            self.notes.append(("opened", project_id))
            repository = self.repositories[project_id]
            with opened_destination(repository, capacity.slots, NO_PROGRESS, lock_wait=timedelta()) as destination:
                yield destination
            self.notes.append(("closed", project_id))

        with cloud_run(self.world.host, self.world.cloud) as access:
            plan = plan_backup(self.world.cloud, Scope(ScopeKind.ALL_PROJECTS))
            with closing(ProjectDestinations(opened, plan.volumes)) as destinations:
                return run_backup(plan, access, destinations, capacity, NO_PROGRESS)


def new_repository() -> Repository:
    return init_repository(MemoryBackend(), Secret("geheim"), parameters=CHEAP, host=fake_host(FakeTime()))


@pytest.fixture
def projects(world: World) -> Projects:
    return Projects(world)


def test_one_after_the_other_each_repository_is_open_while_its_volumes_are_backed_up(projects: Projects) -> None:
    report = projects.back_up(jobs=1)
    assert (len(report.backups), report.failures) == (6, ())
    assert projects.notes == [(note, each.id) for each in (ALPHA, BETA) for note in ("opened", "closed")]


@pytest.mark.parametrize("jobs", [1, 4])
def test_each_project_has_its_own_volumes_and_no_other(projects: Projects, jobs: int) -> None:
    projects.back_up(jobs)
    for project_id, repository in projects.repositories.items():
        stored = list(repository.snapshots())
        assert sorted(snapshot.paths[0] for snapshot in stored) == sorted(
            f"/cinder/{volume}" for volume in projects.volumes[project_id]
        )
        assert {tagged(snapshot.tags, PROJECT) for snapshot in stored} == {project_id}


def test_what_was_backed_up_before_is_found_in_the_projects_own_repository(projects: Projects) -> None:
    first = projects.back_up(jobs=2)
    again = projects.back_up(jobs=2)
    assert [each.parent_id for each in again.backups] == [each.snapshot_id for each in first.backups]


@pytest.mark.parametrize("kind", [NoRepositoryError, RepositoryLockedError, WrongPasswordError])
@pytest.mark.parametrize("jobs", [1, 4])
def test_a_repository_that_cannot_be_opened_is_the_failure_of_its_projects_volumes_alone(
    projects: Projects, kind: type[IcebrickError], jobs: int
) -> None:
    projects.failures[ALPHA.id] = kind("not this one")
    before = projects.world.resources()
    report = projects.back_up(jobs)
    assert sorted(failure.volume_id or "" for failure in report.failures) == sorted(projects.volumes[ALPHA.id])
    assert {(failure.message, failure.hint) for failure in report.failures} == {("not this one", kind.hint)}
    assert len(report.backups) == 3
    assert projects.world.resources() == before
    assert projects.world.cloud.faults.calls.count("create_snapshot") == 3, "nothing is made for what has no place"
