"""Progress as plain lines or JSON lines; `bars` has the one for terminals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from icebrick.cli.output import Output, one_line, size_text
from icebrick.progress import Progress, Task

JSON_INTERVAL = 1.0
PLAIN_INTERVAL = 30.0


class TimedTask(Task):
    """Counts, and tells `show` about it, at most once an interval."""

    def __init__(
        self, total: int | None, show: Callable[[TimedTask], None], interval: float, clock: Callable[[], float]
    ) -> None:
        self.done = 0
        self.total = total
        self._show = show
        self._interval = interval
        self._clock = clock
        self.started = clock()
        self._next = self.started + interval
        self._lock = threading.Lock()  # guards done, total and _next

    @property
    def seconds(self) -> float:
        return self._clock() - self.started

    def advance(self, amount: int) -> None:
        with self._lock:
            self.done += amount
            now = self._clock()
            if now < self._next:
                return
            self._next = now + self._interval
        self._show(self)

    def set_total(self, total: int) -> None:
        with self._lock:
            self.total = total


class PlainProgress(Progress):
    """A line on stderr now and then: for logs of unattended runs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    @contextmanager
    def task(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        def show(task: TimedTask) -> None:
            click.echo(f"{one_line(name)}: {_plain(task, unit)}", err=True)

        task = TimedTask(total, show, PLAIN_INTERVAL, self._clock)
        yield task
        show(task)


class JsonProgress(Progress):
    """Lines of type `status` on stdout, with restic's names where restic has them."""

    def __init__(self, output: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._clock = clock

    @contextmanager
    def task(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        def show(task: TimedTask) -> None:
            self._output.record("status", {"task": name, **_status(task, unit)})

        yield TimedTask(total, show, JSON_INTERVAL, self._clock)


def _status(task: TimedTask, unit: str) -> dict[str, Any]:
    status: dict[str, Any] = {"seconds_elapsed": int(task.seconds)}
    if task.total:
        status["percent_done"] = min(task.done / task.total, 1.0)
    noun = "bytes" if unit == "B" else unit or "steps"
    if task.total is not None:
        status[f"total_{noun}"] = task.total
    status[f"{noun}_done"] = task.done
    return status


def _plain(task: TimedTask, unit: str) -> str:
    def amount(count: int) -> str:
        return size_text(count) if unit == "B" else f"{count} {unit}".rstrip()

    if not task.total:
        return amount(task.done)
    return f"{amount(task.done)} of {amount(task.total)} ({min(100 * task.done // task.total, 100)} %)"
