"""The repositories that a command with volumes of several projects works with: one for all, or each project's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from icebrick.app import opened_backend
from icebrick.cli.invocation import Invocation
from icebrick.cli.password import read_password
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.errors import IcebrickError, NoRepositoryError, UsageError
from icebrick.parallel import Slots
from icebrick.repository.repository import Repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.destination import (
    Destination,
    Destinations,
    OneDestination,
    ProjectDestinations,
    opened_destination,
    parents_of,
)
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.report import Failure

if TYPE_CHECKING:
    from icebrick.cloud.base import Cloud, Volume


@dataclass(frozen=True, slots=True)
class Compared:
    """A volume that would be backed up, and what it would be compared with, by the mode that it would be read in."""

    volume: Volume
    parents: Mapping[BackupMode, Snapshot]


class Repositories(Protocol):
    """Where volumes are backed up to."""

    def destinations(self, volumes: Iterable[Volume], slots: Slots) -> AbstractContextManager[Destinations]:
        """Of these volumes, locked while they are used."""

    def compare(self, volumes: Sequence[Volume]) -> tuple[list[Compared], list[Failure]]:
        """Only look; the failures are of volumes whose repository cannot be opened."""


@contextmanager
def opened_repositories(invocation: Invocation, cloud: Cloud) -> Iterator[Repositories]:
    """The one of the settings, open; but each project's own are opened one by one, when they are needed.

    UsageError when the settings name another project than that which is logged in to.
    """
    settings, project_id = invocation.settings.repository, cloud.project().id
    if settings.project_id not in (None, project_id):
        raise UsageError(
            f"the login is for project {project_id}, and project-id names {settings.project_id}",
            hint="Log in to that project; or as an administrator name its volumes, or --all-tenants: a volume goes to "
            "its own project's repository.",
        )
    if settings.is_of_projects and cloud.is_admin():
        check_password(invocation)
        yield _ProjectRepositories(invocation)
    else:
        with opened_repository(invocation, project_id) as repository:
            yield _OneRepository(invocation, repository)


def check_password(invocation: Invocation) -> None:
    """UsageError when each project's would have to be asked for, maybe while others are at work."""
    settings = invocation.settings.repository
    if settings.password is None and settings.password_file is None:
        raise UsageError(
            "no password for the repositories of the projects",
            hint="Name a file with --password-file or RESTIC_PASSWORD_FILE, with {project_id} in its name if each has "
            "its own.",
        )


@contextmanager
def opened_repository_of(invocation: Invocation, project_id: str) -> Iterator[Repository]:
    """The project's own. Errors say what to do about it."""
    settings = invocation.settings.repository.for_project(project_id)
    with opened_backend(settings, invocation.stop) as backend:
        try:
            repository = open_repository(backend, read_password(settings))
        except NoRepositoryError as error:
            hint = f"Create it with 'icebrick --project-id {project_id} init'."
            raise NoRepositoryError(f"{error} for project {project_id}", hint=hint) from error
        yield repository


@dataclass(frozen=True, slots=True)
class _OneRepository(Repositories):
    invocation: Invocation
    repository: Repository

    @contextmanager
    def destinations(self, volumes: Iterable[Volume], slots: Slots) -> Iterator[Destinations]:
        wait, progress = lock_wait(self.invocation), self.invocation.progress
        with opened_destination(self.repository, slots, progress, lock_wait=wait) as destination:
            yield OneDestination(destination)

    def compare(self, volumes: Sequence[Volume]) -> tuple[list[Compared], list[Failure]]:
        return _compared(list(self.repository.snapshots()), volumes), []


@dataclass(frozen=True, slots=True)
class _ProjectRepositories(Repositories):
    invocation: Invocation

    @contextmanager
    def destinations(self, volumes: Iterable[Volume], slots: Slots) -> Iterator[Destinations]:
        with closing(ProjectDestinations(partial(self._opened, slots), volumes)) as destinations:
            yield destinations

    def compare(self, volumes: Sequence[Volume]) -> tuple[list[Compared], list[Failure]]:
        compared: list[Compared] = []
        failures: list[Failure] = []
        for project_id, grouped in groupby(volumes, key=lambda volume: volume.project_id):
            own = list(grouped)
            try:
                with opened_repository_of(self.invocation, project_id) as repository:
                    compared += _compared(list(repository.snapshots()), own)
            except IcebrickError as error:
                failures += (Failure(volume.id, str(error), error.hint) for volume in own)
        return compared, failures

    @contextmanager
    def _opened(self, slots: Slots, project_id: str) -> Iterator[Destination]:
        wait, progress = lock_wait(self.invocation), self.invocation.progress
        with (
            opened_repository_of(self.invocation, project_id) as repository,
            opened_destination(repository, slots, progress, lock_wait=wait) as destination,
        ):
            yield destination


def _compared(snapshots: Sequence[Snapshot], volumes: Iterable[Volume]) -> list[Compared]:
    return [Compared(volume, parents_of(snapshots, volume.id)) for volume in volumes]
