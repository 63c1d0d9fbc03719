"""icebrick check-backend"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from icebrick.app import opened_medium
from icebrick.backend.base import Backend
from icebrick.backend.conformance.base import Check
from icebrick.backend.conformance.suite import CHECKS, Outcome, Rates, Suite, is_empty
from icebrick.backend.wrap.retry import RetryPolicy
from icebrick.cli.command import Given, command
from icebrick.cli.invocation import Invocation, this_invocation
from icebrick.cli.output import Output, counted, one_line, size_text
from icebrick.config import options
from icebrick.errors import BackendError, IncompleteError, UsageError
from icebrick.workflow.report import to_json

EXAMPLES = """
icebrick check-backend /srv/backup
icebrick check-backend s3:https://s3.example.org/bucket/icebrick
icebrick check-backend sftp:backup@host:/srv/backup --json
"""

PATIENCE = RetryPolicy(attempts=3, base=0.2)
"""A medium that needs more is not a good one, and a bad one should be told so soon."""


@command("check-backend", examples=EXAMPLES)
@click.argument("location", required=False)
def check_backend(location: str | None) -> None:
    """Find out whether a storage medium does what a repository needs.

    LOCATION is written as for -r, and may have a repository: a place beside it, with a random name, is created,
    tried in every way a repository uses it, measured, and removed again. No password is needed.
    Ends with 3 when it fails at what a repository needs; where it is only weak, that is told.
    """
    _name(location)
    invocation = this_invocation()
    with _place(invocation) as backend:
        suite = Suite(backend)
        try:
            failed = _run_checks(suite, invocation)
            needed = [check for check in failed if check.needed]
            rates = None if needed else suite.rates()
        finally:
            suite.clear()
    _sum_up(len(needed), len(failed) - len(needed), rates, invocation.output)
    if needed:
        raise IncompleteError(
            f"{backend.location} failed {counted(len(needed), 'check')} of {len(CHECKS)}",
            hint="A repository would not be safe there.",
        )


def _name(location: str | None) -> None:
    """Let the argument count as -r does, so that it can be a section's name too."""
    given = Given.of(click.get_current_context()).values
    if location is None:
        return
    if given.get(options.REPOSITORY_LOCATION, location) != location:
        raise UsageError("LOCATION and -r name different places")
    given[options.REPOSITORY_LOCATION] = location


@contextmanager
def _place(invocation: Invocation) -> Iterator[Backend]:
    """A new place of a random name, for the block."""
    settings = invocation.settings.repository
    settings = settings.for_project(settings.project_id)
    if settings.location is not None:
        name = f"icebrick-check-{secrets.token_hex(8)}"
        settings = replace(settings, location=settings.location.below(name))
    with opened_medium(settings, invocation.stop, PATIENCE) as backend:
        try:
            backend.create()
        except BackendError:
            backend.discard()
            raise
        try:
            yield backend
        finally:
            _discard(backend, invocation.output)


def _discard(backend: Backend, output: Output) -> None:
    try:
        files_left = not is_empty(backend)
    except BackendError as error:
        output.warn(f"it is not known whether all files are removed: {error}")
        return
    if files_left:
        output.warn(f"files are left at {backend.location}")
    elif not backend.discard():
        output.warn(f"empty folders are left at {backend.location}")


def _run_checks(suite: Suite, invocation: Invocation) -> list[Check]:
    """Those that failed."""
    failed = []
    with invocation.progress.task("check", total=len(CHECKS), unit="checks") as task:
        for outcome in suite.outcomes():
            if outcome.error is not None:
                failed.append(outcome.check)
            _tell(outcome, invocation.output)
            task.advance(1)
    return failed


def _tell(outcome: Outcome, output: Output) -> None:
    check, error = outcome.check, outcome.error
    word = "ok" if error is None else "FAILED" if check.needed else "weak"
    text = f"{word:6}  {outcome.seconds:7.2f} s  {check.sentence}"
    if error is not None:
        text += f"\n        {check.name}: {one_line(str(error))}"
    record: dict[str, Any] = {"message_type": "check", "name": check.name, "sentence": check.sentence}
    record |= {"needed": check.needed, "passed": error is None, "seconds": round(outcome.seconds, 3)}
    if error is not None:
        record["error"] = str(error)
    output.result(text, record)


def _sum_up(failed: int, weak: int, rates: Rates | None, output: Output) -> None:
    record: dict[str, Any] = {"message_type": "summary", "checks": len(CHECKS), "failed": failed, "weak": weak}
    text = f"{counted(failed, 'check')} of {len(CHECKS)} failed" if failed else "all that a repository needs is there"
    if weak:
        text += (
            f"\nweak in {counted(weak, 'point')}: a run may meet a file that is just being saved, and end with an error"
        )
    if rates is not None:
        record["bytes_per_second"] = to_json(rates)
        text += f"\nfiles of 16 MiB: {size_text(int(rates.upload))}/s up, {size_text(int(rates.download))}/s down"
    output.result(text, record)
