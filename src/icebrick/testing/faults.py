"""Backends that fail on purpose, always in the same way for the same plan.

`FaultyBackend` is a bad medium: the process lives and may try again. `DyingBackend` is a killed process: nothing it
does afterwards has an effect, and a new process begins with the backend inside.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NoReturn

from icebrick.backend.base import Backend, BackendWrapper, FileInfo, FileType, Handle
from icebrick.blockdev import Data
from icebrick.errors import BackendError, BackendUnavailableError, FileMissingError


class Op(Enum):
    """The calls that can fail."""

    LOAD = "load"
    STAT = "stat"
    LIST = "list"
    SAVE = "save"
    REMOVE = "remove"


class Kind(Enum):
    """How a call fails. The first three raise, the others answer wrongly and say nothing."""

    BEFORE = "before"  # without having done anything
    AFTER = "after"  # having done it all: the answer is lost
    TORN = "torn"  # halfway: half a file is saved under its name, half of a listing was given
    SHORT = "short"  # half of the bytes
    WRONG = "wrong"  # one bit differs
    STALE = "stale"  # a listing without what was saved, and with what was removed, through this backend


_POSSIBLE = {
    Op.LOAD: (Kind.BEFORE, Kind.SHORT, Kind.WRONG),
    Op.STAT: (Kind.BEFORE,),
    Op.LIST: (Kind.BEFORE, Kind.TORN, Kind.STALE),
    Op.SAVE: (Kind.BEFORE, Kind.AFTER, Kind.TORN),
    Op.REMOVE: (Kind.BEFORE, Kind.AFTER),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The `call`-th call of `op`, counted from 1, fails so; `error` is what the raising kinds raise."""

    op: Op
    call: int
    kind: Kind = Kind.BEFORE
    error: type[BackendError] = BackendUnavailableError

    def __post_init__(self) -> None:
        if self.kind not in _POSSIBLE[self.op]:
            raise ValueError(f"{self.op.value} cannot fail {self.kind.value}")


def random_faults(seed: int, *, rate: float, calls: int, kinds: Iterable[Kind] = tuple(Kind)) -> Iterator[Fault]:
    """Faults of these kinds among the first `calls` calls of every operation, about `rate` (0 to 1) of them."""
    chance = random.Random(seed)  # noqa: S311 - to be repeatable, not secret
    wanted = frozenset(kinds)
    for op, possible in _POSSIBLE.items():
        choices = [kind for kind in possible if kind in wanted]
        for call in range(1, calls + 1):
            if choices and chance.random() < rate:
                yield Fault(op, call, chance.choice(choices))


class FaultyBackend(BackendWrapper):
    """Fails as planned, and does everything else rightly. `met` are the faults that happened so far, in order."""

    def __init__(self, inner: Backend, plan: Iterable[Fault], *, seed: int = 0) -> None:
        super().__init__(inner)
        self.met: list[Fault] = []
        self._plan = {(fault.op, fault.call): fault for fault in plan}
        self._calls: Counter[Op] = Counter()
        self._chance = random.Random(seed)  # noqa: S311 - to be repeatable, not secret
        self._saved: set[Handle] = set()
        self._removed: dict[Handle, FileInfo] = {}
        self._lock = threading.Lock()  # guards all of the above

    def calls(self, op: Op) -> int:
        """How many there were so far."""
        with self._lock:
            return self._calls[op]

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        fault = self._next(Op.LOAD)
        _raise_if(fault, Kind.BEFORE, handle)
        content = self.inner.load(handle, offset=offset, length=length)
        if _is(fault, Kind.SHORT):
            return content[: len(content) // 2]
        return self._with_one_bit_flipped(content) if _is(fault, Kind.WRONG) else content

    def stat(self, handle: Handle) -> FileInfo:
        _raise_if(self._next(Op.STAT), Kind.BEFORE, handle)
        return self.inner.stat(handle)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        fault = self._next(Op.LIST)
        _raise_if(fault, Kind.BEFORE, file_type)
        found = list(self.inner.list_files(file_type))
        if _is(fault, Kind.STALE):
            found = self._without_recent_changes(found, file_type)
        yield from found[: len(found) // 2] if _is(fault, Kind.TORN) else found
        _raise_if(fault, Kind.TORN, file_type)

    def save(self, handle: Handle, data: Data) -> None:
        fault = self._next(Op.SAVE)
        _raise_if(fault, Kind.BEFORE, handle)
        self.inner.save(handle, memoryview(data)[: len(data) // 2] if _is(fault, Kind.TORN) else data)
        with self._lock:
            self._saved.add(handle)
            self._removed.pop(handle, None)
        _raise_if(fault, Kind.AFTER, handle)
        _raise_if(fault, Kind.TORN, handle)

    def remove(self, handle: Handle) -> None:
        fault = self._next(Op.REMOVE)
        _raise_if(fault, Kind.BEFORE, handle)
        self._note_removal(handle)
        self.inner.remove(handle)
        _raise_if(fault, Kind.AFTER, handle)

    def _next(self, op: Op) -> Fault | None:
        """Count a call, and tell the fault planned for it."""
        with self._lock:
            self._calls[op] += 1
            fault = self._plan.get((op, self._calls[op]))
            if fault is not None:
                self.met.append(fault)
        return fault

    def _note_removal(self, handle: Handle) -> None:
        try:
            info = self.inner.stat(handle)
        except FileMissingError:
            return
        with self._lock:
            if handle not in self._saved:
                self._removed[handle] = info
            self._saved.discard(handle)

    def _without_recent_changes(self, found: list[FileInfo], file_type: FileType) -> list[FileInfo]:
        with self._lock:
            gone = [info for info in self._removed.values() if info.handle.type is file_type]
            return [info for info in found if info.handle not in self._saved] + gone

    def _with_one_bit_flipped(self, content: bytes) -> bytes:
        if not content:
            return content
        with self._lock:
            bit = self._chance.randrange(len(content) * 8)
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)


def _is(fault: Fault | None, kind: Kind) -> bool:
    return fault is not None and fault.kind is kind


def _raise_if(fault: Fault | None, kind: Kind, what: Handle | FileType) -> None:
    if fault is not None and fault.kind is kind:
        raise fault.error(f"injected fault: call {fault.call} of {fault.op.value}, {kind.value}, of {what}")


class Death(BaseException):
    """The process is killed. No code that means to live can catch this as an error."""


class DyingBackend(BackendWrapper):
    """Dies at the `at`-th save or remove (from 1; never when None), and refuses everything afterwards.

    `effective` says whether that call still reached the medium. Only `close` is allowed to the dead, and does
    nothing: the medium outlives the process. To die at every step, let it live once and count:

        writes = run(DyingBackend(inner)).writes
        for at, effective in deaths(writes): ...
    """

    def __init__(self, inner: Backend, *, at: int | None = None, effective: bool = False) -> None:
        super().__init__(inner)
        self.writes = 0
        self.dead = False
        self._at = at
        self._effective = effective
        self._lock = threading.Lock()  # guards writes and dead; held over a write, so that none overtakes the death

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        self._check_alive()
        return self.inner.load(handle, offset=offset, length=length)

    def stat(self, handle: Handle) -> FileInfo:
        self._check_alive()
        return self.inner.stat(handle)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        self._check_alive()
        for info in self.inner.list_files(file_type):
            yield info
            self._check_alive()

    def create(self) -> None:
        self._check_alive()
        self.inner.create()

    def save(self, handle: Handle, data: Data) -> None:
        with self._lock:
            fatal = self._begin_write(handle)
            if not fatal or self._effective:
                self.inner.save(handle, data)
            if fatal:
                self._die(handle)

    def remove(self, handle: Handle) -> None:
        with self._lock:
            fatal = self._begin_write(handle)
            if not fatal or self._effective:
                self.inner.remove(handle)
            if fatal:
                self._die(handle)

    def sweep(self, now: datetime) -> int:
        self._check_alive()
        return self.inner.sweep(now)

    def close(self) -> None:
        if not self.dead:
            self.inner.close()

    def _check_alive(self) -> None:
        if self.dead:
            raise Death("the process is dead already")

    def _begin_write(self, handle: Handle) -> bool:
        """Whether this is the last one."""
        self._check_alive()
        self.writes += 1
        return self.writes == self._at

    def _die(self, handle: Handle) -> NoReturn:
        self.dead = True
        raise Death(f"killed at write {self.writes}, {handle}")


def deaths(writes: int) -> Iterator[tuple[int, bool]]:
    """Every (at, effective) at which a process that makes so many writes can die."""
    for at in range(1, writes + 1):
        yield at, False
        yield at, True
