"""Waiting for the cloud: on fresh copies, bounded, and with what was seen last in the error.

The SDK's own waiters are not used: they trust the object in hand, know one failed state of several, and
take a group snapshot that says 'deleted' for gone.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from icebrick.errors import CloudUnavailableError, UnexpectedStateError
from icebrick.parallel import Stop

_LOG = logging.getLogger(__name__)

_GOING = frozenset({"deleting", "deleted"})
"""A group snapshot says 'deleted' while its snapshots still are there."""
_RESET = {
    "volume": "openstack volume set --state error",
    "volume snapshot": "openstack volume snapshot set --state error",
    "group": "cinder reset-state --type group --state error",
    "group snapshot": "cinder reset-state --type group-snapshot --state error",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """What is waited for, as messages name it: kind, id, and what else tells people which one it is."""

    kind: str
    id: str
    note: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.id, self.note)))

    @property
    def admin_hint(self) -> str:
        """How to free it when it is stuck."""
        return (
            "Cinder does not let a member go on from there. An administrator must run "
            f"'{_RESET[self.kind]} {self.id}'; then it can be deleted."
        )


class Stateful(Protocol):
    """Anything of Cinder's that has a state."""

    @property
    def id(self) -> str: ...

    @property
    def status(self) -> str: ...


S = TypeVar("S", bound=Stateful)
F = TypeVar("F", bound=Stateful | None)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look, and for how long; all in seconds."""

    first: float = 0.05
    longest: float = 2.0
    growth: float = 1.5
    work: float = 4 * 3600.0
    """For what we asked for: a back end may have to copy the whole volume."""
    settle: float = 300.0
    """For what somebody else asked for and may never end."""
    attempts: int = 5
    """Of one request to a cloud that does not answer, and at deleting what is busy."""


class Waiter:
    """Looks again until something holds. `sleep`, `clock` and `jitter` are injected so that tests need no time."""

    def __init__(
        self,
        pace: Pace | None = None,
        *,
        stop: Stop | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.pace = pace or Pace()
        self.stop = stop or Stop()
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    def until(self, look: Callable[[], S], ready: frozenset[str], *, what: Resource, seconds: float) -> S:
        """The first fresh copy whose status is in `ready`.

        UnexpectedStateError when it goes to a failed state, or is still something else after `seconds`.
        What `look` raises is raised: a resource that vanished is a ResourceMissingError.
        """

        def arrived(found: S) -> bool:
            if found.status.startswith("error"):
                raise UnexpectedStateError(f"{what} went to state {found.status}")
            return found.status in ready

        return self._watch(look, arrived, what, seconds)

    def until_gone(
        self, find: Callable[[], S | None], *, what: Resource, seconds: float, again: Callable[[], object] | None = None
    ) -> None:
        """Return when `find` finds nothing.

        A back end gives up on a resource that is busy, as LVM is while it still lets go of an attachment, and makes
        it available again: then `again` asks once more, at longer and longer intervals. Available is also what a dead
        run's detachment, ending late, calls a volume that is just being deleted: asking is refused then, and it goes.
        UnexpectedStateError when it failed, or is still busy.
        """
        intervals = iter([2.0**attempt for attempt in range(self.pace.attempts - 1)] if again is not None else [])

        def vanished(found: S | None) -> bool:
            if found is None or found.status in _GOING:
                return found is None
            if again is None or found.status != "available" or (delay := next(intervals, None)) is None:
                hint = what.admin_hint if found.status.startswith("error") else None
                raise UnexpectedStateError(f"{what} could not be deleted and is {found.status}", hint=hint)
            _LOG.warning("deleting once more what was busy: %s delay=%.0f", what, delay)
            self._sleep(delay)
            try:
                again()
            except UnexpectedStateError as error:
                _LOG.warning("looking again at what was not to be deleted: %s error=%s", what, error)
            return False

        self._watch(find, vanished, what, seconds)

    def while_in(
        self, find: Callable[[], S | None], flight: frozenset[str], *, what: Resource, seconds: float
    ) -> S | None:
        """Wait out the states of `flight`; what it became, None when it is gone."""

        def settled(found: S | None) -> bool:
            return found is None or found.status not in flight

        return self._watch(find, settled, what, seconds)

    def retry(self, request: Callable[[], T], *, only: type[CloudUnavailableError] = CloudUnavailableError) -> T:
        """What `request` returns; again, at longer and longer intervals, while it raises `only`."""
        interval = 1.0
        for attempt in range(1, self.pace.attempts):
            try:
                return request()
            except only as error:
                delay = interval * (0.5 + self._jitter())  # so that many agents do not come back all at once
                _LOG.warning("retrying attempt=%d delay=%.1f error=%s", attempt, delay, error)
                self._sleep(delay)
                interval = min(interval * 2, 30.0)
        return request()

    def _watch(self, look: Callable[[], F], done: Callable[[F], bool], what: Resource, seconds: float) -> F:
        deadline = self._clock() + seconds
        interval = self.pace.first
        while not done(found := look()):
            if self._clock() >= deadline:
                state = found.status if found is not None else "gone"
                raise UnexpectedStateError(f"{what} is still {state} after {seconds:g} s", hint=what.admin_hint)
            self._sleep(interval)
            interval = min(interval * self.pace.growth, self.pace.longest)
        return found
