"""What a command's body starts from: its settings, its output, its progress."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from icebrick.cli.command import Given
from icebrick.cli.logs import start_logging
from icebrick.cli.output import Output
from icebrick.cli.progress import JsonProgress, PlainProgress
from icebrick.config.job import Job
from icebrick.config.settings import Settings, load_settings
from icebrick.errors import UsageError
from icebrick.parallel import Stop
from icebrick.progress import NO_PROGRESS, Progress


@dataclass(frozen=True, slots=True)
class Invocation:
    """One command under way."""

    settings: Settings
    output: Output
    progress: Progress
    stop: Stop
    """Whoever begins something looks whether it is asked for."""
    no_lock: bool = False
    """Those who only read the repository take no lock."""


def this_invocation(*, stdout_is_data: bool = False, job: Job | None = None) -> Invocation:
    """Settle what was given; UsageError for what cannot be meant. With `stdout_is_data`, --json has no place to go."""
    given = Given.of(click.get_current_context())
    if stdout_is_data and given.json:
        raise UsageError("--json and data both want the standard output")
    start_logging(given.verbosity, as_json=given.json)
    file = None if given.config is None else Path(given.config).expanduser()
    settings = load_settings(given.values, os.environ, file=file, job=job)
    output = Output(as_json=given.json, quiet=given.quiet)
    return Invocation(settings, output, _progress(given, output), given.stop, given.no_lock)


def _progress(given: Given, output: Output) -> Progress:
    if given.quiet:
        return NO_PROGRESS
    if given.json:
        return JsonProgress(output)
    if sys.stderr.isatty():
        # rich takes a while to import: only those who see it wait for it
        bars: Progress = importlib.import_module("icebrick.cli.bars").bars()
        return bars
    return PlainProgress() if given.verbosity else NO_PROGRESS
