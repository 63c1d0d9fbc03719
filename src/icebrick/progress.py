"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work under way. Methods may be called from any thread."""

    def advance(self, amount: int) -> None:
        """Add to what is done, in the task's unit."""

    def set_total(self, total: int) -> None:
        """Correct the expected total."""


class Progress(Protocol):
    """Where tasks are announced."""

    def task(self, name: str, *, total: int | None = None, unit: str = "") -> AbstractContextManager[Task]:
        """Announce a task; it ends with the block. `unit` is "B" for bytes, else a plural noun."""


class _SilentTask(Task):
    def advance(self, amount: int) -> None:
        pass

    def set_total(self, total: int) -> None:
        pass


class _NoProgress(Progress):
    @contextmanager
    def task(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        yield _SilentTask()


class LabelledProgress(Progress):
    """Tells of which of several things at work a task is."""

    def __init__(self, inner: Progress, label: str) -> None:
        self._inner = inner
        self._label = label

    def task(self, name: str, *, total: int | None = None, unit: str = "") -> AbstractContextManager[Task]:
        return self._inner.task(f"{self._label}: {name}", total=total, unit=unit)


NO_PROGRESS: Progress = _NoProgress()
