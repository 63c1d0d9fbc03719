"""Threads that take turns in an order which a seed decides: what a race does once, it does again.

One thread runs at a time, until it waits for a lock, a condition, another thread, or time; then chance chooses who
goes on. When nobody can, that is a deadlock, raised with the stacks of all. Time takes no time.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from types import ModuleType
from typing import Any

PATIENCE = 60.0
"""Seconds that a thread may run without a turn being taken: longer, and it waits for something unknown here."""


class Deadlock(BaseException):
    """Every thread waits for another. No code that means to go on can catch this as an error."""


class _Over(BaseException):
    """Ends a thread that still waits for its turn when there are no more."""


def _closed_gate() -> threading.Lock:
    """A lock that nobody has for itself: who waits acquires it, who opens releases it. Cheaper than a semaphore."""
    gate = threading.Lock()
    gate.acquire()
    return gate


@dataclass(slots=True, eq=False)
class _Task:
    name: str
    ready: Callable[[], bool]
    gate: threading.Lock = field(default_factory=_closed_gate)
    thread: threading.Thread = field(default_factory=threading.current_thread)
    ended: bool = False


class Turns:
    """The order of turns; made, and used by `patched`, in the thread that is to be the main one.

    `eager` (0 to 1) is how likely a thread goes on when it meets a lock that is free.
    """

    def __init__(self, chance: Random, *, eager: float = 0.5) -> None:
        self.taken = 0
        self._interruption: tuple[int, Callable[[], None]] | None = None
        self._chance = chance
        self._eager = eager
        self._main = self._current = _Task("main", _always)
        self._tasks = [self._main]
        self._deadlock: Deadlock | None = None
        self._over = False

    def interrupt(self, turn: int, interruption: Callable[[], None]) -> None:
        """From this turn on, as soon as the main thread waits for anything, it is called there, once; it may raise."""
        self._interruption = (turn, interruption)

    def wait(self, ready: Callable[[], bool] = lambda: True, *, give_way: bool = True) -> None:
        """Let others go on; return when it is this thread's turn and `ready` holds."""
        if self._over and threading.current_thread() is not self._main.thread:
            raise _Over
        task = self._current
        if task.thread is not threading.current_thread():  # a thread of somebody else's
            return
        if not give_way and ready() and self._chance.random() < self._eager:
            return
        task.ready = ready
        self._go_on(task)
        if task is self._main:
            self._meet_what_came()
            if not ready():
                self.wait(ready)

    def begin(self, name: str, work: Callable[[], None]) -> _Task:
        """A thread whose first turn is some time from now."""
        task = _Task(name, _always)

        def run() -> None:
            task.gate.acquire()
            if self._over:
                return
            with suppress(_Over):
                try:
                    work()
                finally:
                    task.ended = True
                    if not self._over:
                        self._tasks.remove(task)
                        self._pass_on()

        task.thread = threading.Thread(target=run, name=name, daemon=True)
        task.thread.start()
        self._tasks.append(task)
        return task

    def end(self) -> None:
        """End the threads that a deadlock or an error has left waiting, in their places; the main one goes on alone."""
        self._over = True
        waiting, self._tasks, self._current = self._tasks[1:], [self._main], self._main
        for task in waiting:
            with suppress(RuntimeError):  # open already
                task.gate.release()
            task.thread.join(PATIENCE)

    def _go_on(self, task: _Task) -> None:
        chosen = self._choose()
        if chosen is task:
            return
        chosen.gate.release()
        if not task.gate.acquire(timeout=PATIENCE):
            raise Deadlock(f"{self._current.name} waits for what takes no turns\n{self._stacks()}")
        if self._over:
            raise _Over

    def _pass_on(self) -> None:
        self._choose().gate.release()

    def _choose(self) -> _Task:
        self.taken += 1
        able = [task for task in self._tasks if task.ready()]
        if not able:
            self._deadlock = Deadlock(f"nobody can go on after {self.taken} turns\n{self._stacks()}")
        self._current = self._chance.choice(able) if able and not self._is_interruption_due else self._main
        return self._current

    @property
    def _is_interruption_due(self) -> bool:
        return self._interruption is not None and self._interruption[0] <= self.taken

    def _meet_what_came(self) -> None:
        if self._deadlock is not None:
            raise self._deadlock
        if self._is_interruption_due and self._interruption is not None:
            _, interruption = self._interruption
            self._interruption = None
            interruption()

    def _stacks(self) -> str:
        frames = sys._current_frames()
        return "\n".join(
            f"--- {task.name}\n{''.join(traceback.format_stack(frames[task.thread.ident or 0])[-8:])}"
            for task in self._tasks
        )


@contextmanager
def patched(turns: Turns, modules: list[ModuleType]) -> Iterator[None]:
    """In the block, what the modules make of `threading` and `time` takes turns; their threads end with it."""
    shims: dict[str, Any] = {"threading": _Threading(turns), "time": _Time(turns)}
    changed = [(module, name, vars(module)[name]) for module in modules for name in shims if name in vars(module)]
    for module, name, _ in changed:
        setattr(module, name, shims[name])
    try:
        yield
    finally:
        turns.end()
        for module, name, before in changed:
            setattr(module, name, before)


class _Lock:
    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.holder: _Task | None = None
        self.depth = 0

    def acquire(self) -> bool:
        self._turns.wait(self.is_free, give_way=False)
        self.take()
        return True

    def release(self) -> None:
        self.depth -= 1
        if not self.depth:
            self.holder = None

    def is_free(self) -> bool:
        return self.holder is None

    def take(self) -> None:
        self.holder = self._turns._current
        self.depth += 1

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _RLock(_Lock):
    def acquire(self) -> bool:
        if self.holder is self._turns._current:
            self.take()
            return True
        return super().acquire()


class _Condition:
    def __init__(self, turns: Turns, lock: _Lock | None = None) -> None:
        self._turns = turns
        self._lock = lock or _RLock(turns)
        self._waiting: list[object] = []

    def wait(self) -> bool:
        me = object()
        self._waiting.append(me)
        depth, self._lock.depth, self._lock.holder = self._lock.depth, 0, None
        try:
            self._turns.wait(lambda: me not in self._waiting and self._lock.is_free())
        finally:
            if me in self._waiting:
                self._waiting.remove(me)
            while not self._lock.is_free():  # interrupted: the lock is taken all the same
                self._turns.wait(self._lock.is_free)
            self._lock.take()
            self._lock.depth = depth
        return True

    def wait_for(self, predicate: Callable[[], Any]) -> Any:
        while not (result := predicate()):
            self.wait()
        return result

    def notify(self, n: int = 1) -> None:
        del self._waiting[:n]

    def notify_all(self) -> None:
        self.notify(len(self._waiting))

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _Semaphore:
    def __init__(self, turns: Turns, value: int) -> None:
        self._turns = turns
        self._left = value

    def __enter__(self) -> None:
        self._turns.wait(lambda: self._left > 0, give_way=False)
        self._left -= 1

    def __exit__(self, *_: object) -> None:
        self._left += 1


class _Thread:
    def __init__(self, turns: Turns, target: Callable[..., None], name: str, args: tuple[Any, ...] = ()) -> None:
        self._turns = turns
        self._work = lambda: target(*args)
        self._name = name
        self._task: _Task | None = None

    def start(self) -> None:
        self._task = self._turns.begin(self._name, self._work)

    def join(self) -> None:
        task = self._task
        if task is not None:
            self._turns.wait(lambda: task.ended)


class _Threading:
    """What stands for the module; an attribute that it has not is not used by who is patched."""

    def __init__(self, turns: Turns) -> None:
        self.Lock = lambda: _Lock(turns)
        self.RLock = lambda: _RLock(turns)
        self.Condition = lambda lock=None: _Condition(turns, lock)
        self.BoundedSemaphore = lambda value: _Semaphore(turns, value)
        self.Thread = lambda *, target, name, args=(): _Thread(turns, target, name, args)


class _Time:
    """What stands for the module: sleeping takes no time, only a turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def sleep(self, _seconds: float) -> None:
        self._turns.wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def _always() -> bool:
    return True
