"""Opening the repository that a command was pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from icebrick.app import opened_backend
from icebrick.cli.invocation import Invocation
from icebrick.cli.password import read_password
from icebrick.repository.repository import Repository, open_repository
from icebrick.workflow.images import Images, load_images


@contextmanager
def opened_repository(invocation: Invocation, project_id: str | None = None) -> Iterator[Repository]:
    """Open, until the block ends; asks for the password where it must.

    Of repositories for each project, that of the one the settings name, else of `project_id`.
    """
    settings = invocation.settings.repository
    settings = settings.for_project(settings.project_id or project_id)
    with opened_backend(settings, invocation.stop) as backend:
        yield open_repository(backend, read_password(settings))


@contextmanager
def opened_images(invocation: Invocation) -> Iterator[Images]:
    """What is in the repository, for as long as the block lasts: nobody prunes it meanwhile."""
    with opened_repository(invocation) as repository, repository.lock(wait=lock_wait(invocation)):
        yield load_images(repository, invocation.progress)


def lock_wait(invocation: Invocation) -> timedelta:
    """How long this command waits for another process's lock."""
    return timedelta(seconds=invocation.settings.agent.retry_lock)
