"""A thread that runs coroutines, for libraries that offer nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar

from icebrick.parallel import Workers

T = TypeVar("T")


class EventLoop:
    """Threads call `run`; the thread that does the work begins with the first call, and ends with `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._running = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._lock = threading.Lock()  # guards the three above

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises; cancelled when the caller is interrupted."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs, and end the thread. Twice is fine."""
        with self._lock:
            self._closed = True
            self._running.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the event loop {self._name} is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                workers = self._running.enter_context(Workers(_serve, threads=1, name=self._name))
                self._running.callback(self._loop.call_soon_threadsafe, self._loop.stop)
                workers.put(self._loop)
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()
