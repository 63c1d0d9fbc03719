"""Progress for people at a terminal: a bar for each task, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
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

from icebrick.cli.output import printable
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
    """Draws on `drawing`, which is shown while its own block runs. A task's bar goes away when the task ends."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing

    @contextmanager
    def task(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        row = self._drawing.add_task(Text(printable(name)).markup, total=total, unit=unit)
        try:
            yield _Bar(self._drawing, row)
        finally:
            self._drawing.remove_task(row)


@contextmanager
def open_bars() -> Iterator[Progress]:
    """Bars on stderr; log lines written meanwhile appear above them."""
    columns = (TextColumn("{task.description}"), BarColumn(), _AmountColumn(), TimeRemainingColumn())
    with Drawing(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as drawing:
        yield Bars(drawing)
