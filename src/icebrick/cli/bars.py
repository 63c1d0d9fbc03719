"""Progress for people at a terminal: a bar for each task, on stderr."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Drawing
from rich.progress import Task as Row
from rich.text import Text

from icebrick.cli.output import one_line
from icebrick.progress import Progress, Task


class _AmountColumn(ProgressColumn):
    """How much of how much: bytes with their rate, anything else as numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = DownloadColumn(binary_units=True)
        self._rate = TransferSpeedColumn()
        self._count = MofNCompleteColumn()

    def render(self, task: Row) -> Text:
        if task.fields["unit"] != "B":
            return Text.assemble(self._count.render(task), f" {task.fields['unit']}")
        return Text.assemble(self._bytes.render(task), " ", self._rate.render(task))


class _Bar(Task):
    def __init__(self, drawing: Drawing, row: TaskID) -> None:
        self._drawing = drawing
        self._row = row

    def advance(self, amount: int) -> None:
        self._drawing.advance(self._row, amount)  # rich draws from a thread of its own, this only counts

    def set_total(self, total: int) -> None:
        self._drawing.update(self._row, total=total)


class Bars(Progress):
    """A task's bar goes away when the task ends; without tasks nothing is drawn, so that results can be printed."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), _AmountColumn(), TimeRemainingColumn())
        self._drawing = Drawing(*columns, console=console, transient=True, redirect_stdout=False)
        self._lock = threading.Lock()  # guards _tasks and what is done about its changes
        self._tasks = 0

    @contextmanager
    def task(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        row = self._begin(name, total, unit)
        try:
            yield _Bar(self._drawing, row)
        finally:
            self._end(row)

    def _begin(self, name: str, total: int | None, unit: str) -> TaskID:
        with self._lock:
            if not self._tasks:
                self._drawing.start()
            self._tasks += 1
            return self._drawing.add_task(escape(one_line(name)), total=total, unit=unit)

    def _end(self, row: TaskID) -> None:
        with self._lock:
            self._drawing.remove_task(row)
            self._tasks -= 1
            if not self._tasks:
                self._drawing.stop()


def bars() -> Progress:
    """On stderr; log lines written meanwhile appear above the bars."""
    return Bars(Console(stderr=True))
