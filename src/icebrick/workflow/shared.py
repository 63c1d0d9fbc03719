"""What several jobs of a run use together: made by the first that needs it, undone when the last has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Generic, TypeVar

from icebrick.errors import IcebrickError, QuotaError

T = TypeVar("T")


class Shared(Generic[T]):
    """One thing for `users` jobs. Undone at the latest by `close`, for jobs may never begin.

    What it cannot be made for fails every job alike, and is not tried again. But by a QuotaError a job is queued, and
    then this must not keep what others wait for: it is made anew for the next, unless a job has ended with it.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[T]], users: int) -> None:
        self._make = make
        self._undo = ExitStack()
        self._lock = threading.Lock()  # guards all here; held while the thing is made and undone
        self._made: list[T] = []  # at most one
        self._failure: IcebrickError | None = None
        self._at_work = 0
        self._ended = 0
        self._users = users

    @contextmanager
    def used(self) -> Iterator[T]:
        """By one job, that ends with the block; unless it is left by a QuotaError."""
        thing = self._begin()
        ended = 1
        try:
            yield thing
        except QuotaError:
            ended = 0
            raise
        finally:
            self._end(ended)

    def close(self) -> None:
        """When no job is at work any more."""
        with self._lock:
            self._made.clear()
            self._undo.close()

    def _begin(self) -> T:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if not self._made:
                self._made.append(self._first())
            self._at_work += 1
            return self._made[0]

    def _first(self) -> T:
        try:
            return self._undo.enter_context(self._make())
        except QuotaError:
            raise
        except IcebrickError as error:
            self._failure = error
            raise

    def _end(self, ended: int) -> None:
        with self._lock:
            self._at_work -= 1
            self._ended += ended
            if not self._at_work and self._ended in (0, self._users):
                self._made.clear()
                self._undo.close()
