"""Opening the repository that a command was pointed at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import click

from icebrick.app import opened_backend, opened_medium
from icebrick.cli.command import Given
from icebrick.cli.invocation import Invocation
from icebrick.cli.password import read_password
from icebrick.repository.repository import Repository, open_repository
from icebrick.workflow.images import Images, load_images


@contextmanager
def opened_repository(
    invocation: Invocation, project_id: str | None = None, *, cached: bool = True
) -> Iterator[Repository]:
    """Open, until the block ends; asks for the password where it must.

    Of repositories for each project, that of the one the settings name, else of `project_id`. Who judges what the
    storage has takes it without the cache.
    """
    settings = invocation.settings.repository
    settings = settings.for_project(settings.project_id or project_id)
    opened = opened_backend if cached else opened_medium
    with opened(settings, invocation.stop) as backend:
        yield open_repository(backend, read_password(settings))


@contextmanager
def opened_images(invocation: Invocation) -> Iterator[Images]:
    """What is in the repository, for as long as the block lasts: nobody prunes it meanwhile."""
    with opened_repository(invocation) as repository, read_lock(invocation, repository):
        yield load_images(repository, invocation.progress)


def read_lock(invocation: Invocation, repository: Repository) -> AbstractContextManager[object]:
    """The lock of who only reads; with --no-lock none."""
    return nullcontext() if invocation.no_lock else repository.lock(wait=lock_wait(invocation))


def lockless(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that only reads, and takes a `read_lock`, the option to take none."""

    def keep(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        Given.of(context).no_lock = value

    return click.option(
        "--no-lock",
        is_flag=True,
        expose_value=False,
        callback=keep,
        help="Take no lock: for a storage that cannot be written. A prune meanwhile may take away what is read.",
    )(function)


def lock_wait(invocation: Invocation) -> timedelta:
    """How long this command waits for another process's lock."""
    return timedelta(seconds=invocation.settings.agent.retry_lock)
