"""Failures on demand for the fakes: which call fails, before or after it had its effect."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from icebrick.testing.faults import Death


@dataclass(slots=True)
class _Fault:
    call: str
    error: BaseException
    after: bool
    skip: int
    times: int


class FaultPlan:
    """Raises what was planned. `calls` lists every call made, in order. `lock` guards both."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    def fail(self, call: str, error: BaseException, *, after: bool = False, skip: int = 0, times: int = 1) -> None:
        """The next `times` calls of `call`, but for the first `skip`, raise `error`: before having an effect, or after.

        After the effect is what a lost answer looks like, or a Ctrl-C between a request and its return.
        """
        with self._lock:
            self._faults.append(_Fault(call, error, after, skip, times))

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        """Makes the planned failures of `call` happen round the block that has its effect."""
        with self._lock:
            self.calls.append(call)
        self._raise(call, after=False)
        yield
        self._raise(call, after=True)

    def _raise(self, call: str, *, after: bool) -> None:
        with self._lock:
            fault = next((f for f in self._faults if f.call == call and f.after == after and f.times), None)
            if fault is None:
                return
            if fault.skip:
                fault.skip -= 1
                return
            fault.times -= 1
        raise fault.error


class Mortal(FaultPlan):
    """Dies at the `at`-th call; what the dead ask for has no effect."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        self.calls.append(call)
        if len(self.calls) >= self._at:
            raise Death(call)
        yield


@dataclass(frozen=True, slots=True)
class Chances:
    """How likely a call fails: without having done anything, or with an answer that is lost; from 0 to 1.

    `errors` are by call what it may fail by before it has done anything, "*" for all others; `lost` is the other kind.
    """

    before: float
    after: float
    errors: Mapping[str, Sequence[type[Exception]]]
    lost: type[Exception]


class RandomFaults(FaultPlan):
    """Besides what is planned, calls fail by chance; `pause` is called before each, to let others go first.

    `met` are those that failed so, in order.
    """

    def __init__(self, chance: Random, chances: Chances, pause: Callable[[], None]) -> None:
        super().__init__()
        self.met: list[str] = []
        self._chance, self._chances, self._pause = chance, chances, pause

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        self._pause()
        if self._chance.random() < self._chances.before:
            kinds = self._chances.errors.get(call, self._chances.errors["*"])
            self._fail(call, self._chance.choice(kinds), "injected")
        with super().around(call):
            yield
        if self._chance.random() < self._chances.after:
            self._fail(call, self._chances.lost, "injected, done")
        self._pause()

    def _fail(self, call: str, kind: type[Exception], how: str) -> None:
        self.met.append(f"{call}: {kind.__name__}, {how}")
        raise kind(f"{how}: {call} failure {len(self.met)}")
