"""What a command's body starts from: its settings, its output, its progress."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from icebrick.cli.command import Given
from icebrick.cli.logs import start_logging
from icebrick.cli.output import Output
from icebrick.cli.progress import JsonProgress, PlainProgress
from icebrick.config.settings import Settings, load_settings
from icebrick.errors import UsageError
from icebrick.progress import NO_PROGRESS, Progress


@dataclass(frozen=True, slots=True)
class Invocation:
    """One command under way."""

    settings: Settings
    output: Output
    progress: Progress


@contextmanager
def open_invocation(*, stdout_is_data: bool = False) -> Iterator[Invocation]:
    """Settle what was given; UsageError for what cannot be meant. With `stdout_is_data`, --json has no place to go."""
    given = Given.of(click.get_current_context())
    if stdout_is_data and given.json:
        raise UsageError("--json and data both want the standard output")
    start_logging(given.verbosity, as_json=given.json)
    settings = load_settings(
        given.values, os.environ, file=None if given.config is None else Path(given.config).expanduser()
    )
    output = Output(as_json=given.json, quiet=given.quiet)
    with _open_progress(given, output) as progress:
        yield Invocation(settings, output, progress)


@contextmanager
def _open_progress(given: Given, output: Output) -> Iterator[Progress]:
    if given.quiet:
        yield NO_PROGRESS
    elif given.json:
        yield JsonProgress(output)
    elif sys.stderr.isatty():
        # rich takes a while to import: only those who see it wait for it
        with importlib.import_module("icebrick.cli.bars").open_bars() as bars:
            yield bars
    else:
        yield PlainProgress() if given.verbosity else NO_PROGRESS
