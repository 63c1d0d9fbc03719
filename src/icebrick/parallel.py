"""Threads that cannot outlive their block or lose an error."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Workers(Generic[T]):
    """Calls `work` with each item put, on `threads` threads, at most `depth` items waiting.

    The first failure stops the rest and is raised in the caller, by the next `put` or at the end of the
    block. Left normally, the block waits until everything put is done; left by an exception, items not yet
    begun are dropped. Either way no thread is left running.
    """

    def __init__(
        self, work: Callable[[T], None], *, threads: int, depth: int | None = None, name: str = "worker"
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._work = work
        self._queue: queue.Queue[T | None] = queue.Queue(depth or threads)
        self._failure: BaseException | None = None
        self._failed = threading.Event()
        self._lock = threading.Lock()  # guards _failure
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{i}") for i in range(threads)]

    def put(self, item: T) -> None:
        """Hand over an item; waits while the queue is full."""
        self._raise_failure()
        self._queue.put(item)  # after a failure the threads keep draining, so this cannot block for ever

    def __enter__(self) -> Workers[T]:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._failed.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        if error is None:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failed.is_set():
                continue
            try:
                self._work(item)
            except BaseException as error:  # noqa: BLE001 - carried to the caller, whatever it is
                with self._lock:
                    self._failure = self._failure or error
                self._failed.set()


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
