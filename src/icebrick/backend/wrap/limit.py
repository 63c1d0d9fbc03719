"""Bounds on how fast, and how many at once, calls reach the medium."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from icebrick.backend.base import Backend, BackendWrapper, FileInfo, FileType, Handle
from icebrick.blockdev import Data
from icebrick.parallel import Stop


class TokenBucket:
    """Lets bytes pass at a rate, from any number of threads.

    At any moment no more than `burst` + `rate` * seconds since the start have passed. In bytes and bytes a second;
    `burst` defaults to one second's worth. Who waits gets Interrupted when `stop` is asked for.
    """

    def __init__(
        self,
        rate: int,
        *,
        burst: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
        stop: Stop | None = None,
    ) -> None:
        if rate < 1:
            raise ValueError(f"a rate must be at least 1 byte a second, not {rate}")
        self._rate = rate
        self._burst = rate if burst is None else burst
        self._clock = clock
        self._stop = stop or Stop()
        self._sleep = sleep or self._stop.pause
        self._full_at = clock()  # when the bucket is full again, seconds on the clock
        self._lock = threading.Lock()  # guards _full_at

    def take(self, amount: int) -> None:
        """Wait until `amount` bytes may have passed; more than `burst` is fine, and waits the longer."""
        with self._lock:
            now = self._clock()
            self._full_at = max(self._full_at, now) + amount / self._rate
            pause = self._full_at - now - self._burst / self._rate
        if pause > 0:
            self._sleep(pause)
            self._stop.check()


class LimitBackend(BackendWrapper):
    """At most `connections` calls at once, and so many bytes a second up and down as the buckets let pass.

    A file goes over the wire as fast as that is, and the pause comes before (up) or after (down): the rate holds
    over some files, not within one. What listings weigh is not counted, nor are locks: one that is refreshed too
    late is taken for dead.
    """

    def __init__(
        self,
        inner: Backend,
        *,
        connections: int | None = None,
        upload: TokenBucket | None = None,
        download: TokenBucket | None = None,
    ) -> None:
        super().__init__(inner)
        self.connections = inner.connections if connections is None else connections
        self._upload = upload
        self._download = download
        self._slots = threading.BoundedSemaphore(self.connections)

    # Nobody waits for a bucket while holding a slot: calls that move no bytes go on meanwhile.

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        with self._slots:
            content = self.inner.load(handle, offset=offset, length=length)
        if self._download is not None and handle.type is not FileType.LOCK:
            self._download.take(len(content))
        return content

    def stat(self, handle: Handle) -> FileInfo:
        with self._slots:
            return self.inner.stat(handle)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        """Holds a slot only while it waits for the medium, so that its reader can make calls for each file."""
        found = self.inner.list_files(file_type)
        while True:
            with self._slots:
                info = next(found, None)
            if info is None:
                return
            yield info

    def create(self) -> None:
        with self._slots:
            self.inner.create()

    def save(self, handle: Handle, data: Data) -> None:
        if self._upload is not None and handle.type is not FileType.LOCK:
            self._upload.take(memoryview(data).nbytes)
        with self._slots:
            self.inner.save(handle, data)

    def remove(self, handle: Handle) -> None:
        with self._slots:
            self.inner.remove(handle)

    def sweep(self, now: datetime) -> int:
        with self._slots:
            return self.inner.sweep(now)
