"""Several jobs of a run at once: volumes, or groups of them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from icebrick.errors import IcebrickError, QuotaError
from icebrick.parallel import Slots, Stop, Workers

log = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a run may take of this host: so many jobs at once, all working in the same slots; and how it is stopped."""

    jobs: int = 1
    stop: Stop = field(default_factory=Stop)
    slots: Slots = field(default_factory=Slots)


def new_capacity(jobs: int, *, stop: Stop | None = None, threads: int | None = None) -> Capacity:
    """With as many slots as `threads`, by default as there are processors."""
    stop = stop or Stop()
    return Capacity(jobs, stop, Slots(threads, stop))


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """The job's result."""

    result: R


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is none; Interrupted when the run was asked to end meanwhile."""

    error: IcebrickError


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The run was asked to end before."""


Outcome = Done[R] | Failed | NotBegun


def run_jobs(jobs: Sequence[J], work: Callable[[J], R], capacity: Capacity) -> list[Outcome[R]]:
    """Call `work` with each job, several at once; what became of each, in order. The jobs begin in order.

    A job's IcebrickError is its outcome and concerns no other. A job for which the quota does not suffice while others
    are at work is begun again when one of them has ended. What else a job raises is raised here, when all have ended.

    By SIGINT or SIGTERM (KeyboardInterrupt in the calling thread) `capacity.stop` is asked for, and all jobs have
    ended when this returns.
    """
    if not jobs:
        return []
    queue = _Queue(jobs, work, capacity)
    threads = min(capacity.jobs, len(jobs))
    try:
        with Workers(queue.serve, threads=threads, name="job") as workers:
            try:
                for number in range(threads):
                    workers.put(number)
                queue.wait()
            except BaseException:
                queue.stop()  # first: leaving the block waits for the threads
                raise
    except KeyboardInterrupt:
        log.info("interrupted, all jobs have ended")
    return queue.outcomes


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Of a job, by its number; the `begun`-th of all. `alone`: no other was at work at its beginning."""

    number: int
    begun: int
    alone: bool


class _Queue(Generic[J, R]):
    """Jobs that wait, and what became of the others.

    How many may be at work at once follows the quota: by a QuotaError no more than were besides the job that met it,
    and with each job that succeeds one more. What jobs share takes of the quota too, until the last of them has ended:
    so those that are first go on first, and one that cannot go on alone waits until no other can.
    """

    def __init__(self, jobs: Sequence[J], work: Callable[[J], R], capacity: Capacity) -> None:
        self._jobs, self._work, self._capacity = jobs, work, capacity
        self._changed = threading.Condition()  # guards all below
        self.outcomes: list[Outcome[R]] = [NotBegun()] * len(jobs)
        self._waiting = deque(range(len(jobs)))
        self._limit = capacity.jobs
        self._active = 0
        self._begun = 0
        self._stuck: set[int] = set()  # could not go on alone since a job succeeded

    def serve(self, _thread: int) -> None:
        """Work until no job waits. One that comes back is served by the thread that has put it there."""
        while (attempt := self._next()) is not None:
            self._try(attempt)

    def wait(self) -> None:
        """Return when all jobs have ended, or the run is asked to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ends or not (self._waiting or self._active))

    def stop(self) -> None:
        """Ask for the end, and wake who waits for something else."""
        self._capacity.stop.ask()
        with self._changed:
            self._changed.notify_all()

    @property
    def _ends(self) -> bool:
        return self._capacity.stop.asked

    def _next(self) -> _Attempt | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ends or not self._waiting or self._active < self._limit)
            if self._ends or not self._waiting:
                return None
            self._active += 1
            self._begun += 1
            return _Attempt(self._waiting.popleft(), self._begun, self._active == 1)

    def _try(self, attempt: _Attempt) -> None:
        try:
            self._end(attempt, Done(self._work(self._jobs[attempt.number])))
        except QuotaError as error:
            if not self._put_back(attempt):
                self._end(attempt, Failed(error))
        except IcebrickError as error:
            self._end(attempt, Failed(error))
        except BaseException:
            self.stop()  # a bug: the others shall clear up, and then it is raised
            raise

    def _end(self, attempt: _Attempt, outcome: Done[R] | Failed) -> None:
        with self._changed:
            self.outcomes[attempt.number] = outcome
            self._active -= 1
            if isinstance(outcome, Done):
                self._limit = min(self._limit + 1, self._capacity.jobs)
                self._stuck.clear()
            self._changed.notify_all()

    def _put_back(self, attempt: _Attempt) -> bool:
        """False when there is nothing more to wait for."""
        with self._changed:
            if self._ends:
                return False
            if attempt.alone and attempt.begun == self._begun:
                self._stuck.add(attempt.number)
                if self._stuck.issuperset(self._waiting):
                    return False
                self._waiting.append(attempt.number)
            else:
                self._waiting = deque(sorted([*self._waiting, attempt.number]))
            self._active -= 1
            self._limit = max(1, self._active)
            log.info("quota used up, queued job=%d at_work=%d", attempt.number, self._active)
            self._changed.notify_all()
            return True
