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

_LOG = logging.getLogger(__name__)


class Stateful(Protocol):
    """Anything of Cinder's that has a state."""

    @property
    def id(self) -> str: ...

    @property
    def status(self) -> str: ...


S = TypeVar("S", bound=Stateful)
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
    """Of one request to a cloud that does not answer."""


class Waiter:
    """Looks again until something holds. `sleep`, `clock` and `jitter` are injected so that tests need no time."""

    def __init__(
        self,
        pace: Pace | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.pace = pace or Pace()
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    def until(self, look: Callable[[], S], ready: frozenset[str], *, what: str, seconds: float) -> S:
        """The first fresh copy whose status is in `ready`.

        UnexpectedStateError when it goes to a failed state, or is still something else after `seconds`.
        What `look` raises is raised: a resource that vanished is a ResourceMissingError.
        """

        def arrived() -> S | None:
            found = look()
            if found.status in ready:
                return found
            if found.status.startswith("error"):
                raise UnexpectedStateError(f"{what} went to state {found.status}")
            states.append(found.status)
            return None

        states = ["unknown"]
        return self._repeat(arrived, lambda: f"{what} is still {states[-1]} after {seconds:g} s", seconds)

    def until_gone(self, find: Callable[[], S | None], *, what: str, seconds: float) -> None:
        """Return when `find` finds nothing. UnexpectedStateError when it is no longer being deleted but still there:

        the back end failed, or gave up on a resource that is busy and made it available again.
        """

        def vanished() -> bool | None:
            found = find()
            if found is None:
                return True
            if found.status != "deleting":
                hint = ADMIN_HINT if found.status.startswith("error") else None
                raise UnexpectedStateError(f"{what} could not be deleted and is {found.status}", hint=hint)
            states.append(found.status)
            return None

        states = ["unknown"]
        self._repeat(vanished, lambda: f"{what} is not gone but {states[-1]} after {seconds:g} s", seconds)

    def while_in(self, find: Callable[[], S | None], flight: frozenset[str], *, what: str, seconds: float) -> S | None:
        """Wait out the states of `flight`; what it became, None when it is gone."""

        def settled() -> tuple[S | None] | None:
            found = find()
            if found is None or found.status not in flight:
                return (found,)
            states.append(found.status)
            return None

        states = ["unknown"]
        message = f"{what} has been {{}} for more than {seconds:g} s"
        return self._repeat(settled, lambda: message.format(states[-1]), seconds, hint=ADMIN_HINT)[0]

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

    def _repeat(
        self, look: Callable[[], T | None], late: Callable[[], str], seconds: float, *, hint: str | None = None
    ) -> T:
        deadline = self._clock() + seconds
        interval = self.pace.first
        while (found := look()) is None:
            if self._clock() >= deadline:
                raise UnexpectedStateError(late(), hint=hint)
            self._sleep(interval)
            interval = min(interval * self.pace.growth, self.pace.longest)
        return found


ADMIN_HINT = (
    "Cinder does not let a member go on from there: an administrator must reset its state "
    "('openstack volume set --state error', or 'volume snapshot set') or force its deletion."
)
