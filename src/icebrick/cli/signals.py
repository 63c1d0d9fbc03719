"""SIGINT and SIGTERM end a command through its `with` blocks, so that nothing is left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from icebrick.parallel import Stop


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated as Ctrl-C is."""


@contextmanager
def unwind_on_signals(stop: Stop | None = None) -> Iterator[None]:
    """The first signal asks `stop` for the end and raises in the main thread; later ones only say that it is under way.

    SIGHUP does nothing: 'restic unlock' sends it to the owner of every lock, to see whether that is alive.
    """
    asked = False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            click.echo("icebrick: still cleaning up; what 'kill -9' leaves, the next run removes", err=True)
            return
        asked = True
        if stop is not None:
            stop.ask()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: interrupt, signal.SIGHUP: _pass_by}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_by(_number: int, _frame: FrameType | None) -> None:
    """Unlike SIG_IGN it is not handed on to the programs that we start."""
