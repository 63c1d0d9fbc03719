"""Threads that cannot outlive their block or lose an error, and what bounds how many of them work at once."""

from __future__ import annotations

import mmap
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, TypeVar

from icebrick.errors import Interrupted

T = TypeVar("T")


def default_threads() -> int:
    """One for each processor this process may use, at least two."""
    return max(2, len(os.sched_getaffinity(0)))


class Stop:
    """The wish that a run ends early. Who is about to begin something checks it; who clears up does not.

    Without a lock, so that the handler of a signal may ask, whatever it interrupts.
    """

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True

    def pause(self, seconds: float) -> None:
        """Sleep so long; not much longer than a second when it is asked for."""
        while seconds > 0 and not self.asked:
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0

    def check(self) -> None:
        """Interrupted when the run is to end."""
        if self.asked:
            raise Interrupted("interrupted")


class Slot:
    """Leave to work, with memory to work in."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None

    def memory(self, size: int) -> memoryview:
        """So many bytes, aligned to pages, holding anything; the same ones at each call, valid while it is held."""
        if self._memory is None or len(self._memory) < size:
            self._memory = mmap.mmap(-1, size)
        return memoryview(self._memory)[:size]


class Slots:
    """How many threads of a run work on data at once, whoever started them; first come, first served.

    All work that needs much memory is done in a slot, so this bounds a run's memory too. A thread must not take
    a slot while it has one.
    """

    def __init__(self, count: int | None = None, stop: Stop | None = None) -> None:
        self.count = default_threads() if count is None else count
        self._stop = stop or Stop()
        self._idle = [Slot() for _ in range(self.count)]
        self._waiting: deque[threading.Condition] = deque()
        self._lock = threading.Lock()  # guards the two above

    def check(self) -> None:
        """Interrupted when the run is to end; for who works for long without a slot."""
        self._stop.check()

    def workers(self, work: Callable[[T, Slot], None], *, name: str) -> Workers[T]:
        """As many threads as there are slots; `work` is called in a slot, and gets it with its item."""

        def work_in_slot(item: T) -> None:
            with self.take() as slot:
                work(item, slot)

        return Workers(work_in_slot, threads=self.count, name=name)

    @contextmanager
    def take(self) -> Iterator[Slot]:
        """One of them, for the block; waits for its turn. Interrupted when the run is to end."""
        slot = self._wait()
        try:
            yield slot
        finally:
            with self._lock:
                self._idle.append(slot)
                self._wake_next()

    def _wait(self) -> Slot:
        turn = threading.Condition(self._lock)
        with self._lock:
            self._waiting.append(turn)
            try:
                turn.wait_for(lambda: self._idle and self._waiting[0] is turn)
                self._stop.check()
                return self._idle.pop()
            finally:
                self._waiting.remove(turn)
                self._wake_next()

    def _wake_next(self) -> None:
        if self._idle and self._waiting:
            self._waiting[0].notify()


class Workers(Generic[T]):
    """Calls `work` with each item put, on `threads` threads, at most `depth` items waiting.

    The first failure stops the rest and is raised in the caller, by the next `put` or at the end of the
    block. Left normally, the block waits until everything put is done; left by an exception, items not yet
    begun are dropped. Either way no thread is left running, even when the waiting itself is interrupted.
    """

    def __init__(
        self, work: Callable[[T], None], *, threads: int, depth: int | None = None, name: str = "worker"
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._work = work
        self._depth = depth or threads
        self._waiting: deque[T] = deque()
        self._failure: BaseException | None = None
        self._closed = False  # nothing more will be put
        self._changed = threading.Condition()  # guards the three above
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{i}") for i in range(threads)]

    def put(self, item: T) -> None:
        """Hand over an item; waits while `depth` are waiting."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or len(self._waiting) < self._depth)
            self._raise_failure()
            self._waiting.append(item)
            self._changed.notify_all()

    def __enter__(self) -> Workers[T]:
        started: list[threading.Thread] = []
        try:
            for thread in self._threads:
                thread.start()
                started.append(thread)
        except BaseException:
            self._threads = started
            self._abandon()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon()
            return
        try:
            self._close()
        except BaseException:  # a signal's, while the main thread waited
            self._abandon()
            raise
        self._raise_failure()

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _abandon(self) -> None:
        with self._changed:
            self._waiting.clear()
        self._close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed or self._failure is not None)
                if self._failure is not None or not self._waiting:
                    return
                item = self._waiting.popleft()
                self._changed.notify_all()
            try:
                self._work(item)
            except BaseException as error:  # noqa: BLE001 - carried to the caller, whatever it is
                self._fail(error)
                return

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()


class Pool(Generic[T]):
    """Things that one thread uses at a time, made when all there are are lent out."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: queue.LifoQueue[T] = queue.LifoQueue()

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """One of them, for the block."""
        try:
            item = self._idle.get_nowait()
        except queue.Empty:
            item = self._make()
        try:
            yield item
        finally:
            self._idle.put(item)

    def drain(self) -> Iterator[T]:
        """Take out all that are not lent."""
        while True:
            try:
                yield self._idle.get_nowait()
            except queue.Empty:
                return
