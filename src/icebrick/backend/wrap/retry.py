"""Try again what may pass, with growing pauses."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from icebrick.backend.base import Backend, BackendWrapper, FileInfo, FileType, Handle
from icebrick.blockdev import Data
from icebrick.errors import BackendError, BackendUnavailableError, ShortReadError
from icebrick.parallel import Stop

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long one call is tried. All times in seconds.

    The pause before the n-th retry is random between 0 and `base` * 2^(n-1), or `cap` when that is less: agents
    that lost the same server at the same moment must not come back to it at the same moment. When the storage said
    how long to leave it alone, this comes before the pause, up to `cap`.
    """

    attempts: int = 12
    first_attempts: int = 6
    """As long as the storage has never answered, which means about ten seconds: its address may be wrong."""
    base: float = 0.5
    cap: float = 60.0
    patience: float = 900.0
    """No attempt begins later than this after the first."""

    def longest_pause(self, retry: int) -> float:
        """The upper end of the pause before this retry, counted from 1."""
        # Beyond 2^32 every base a policy can have is over its cap, and floats would overflow much later.
        return min(self.cap, self.base * 2.0 ** min(retry - 1, 32))


@dataclass(frozen=True, slots=True)
class RetryTime:
    """Where seconds and chance come from."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform


SYSTEM_TIME = RetryTime()


class RetryBackend(BackendWrapper):
    """Repeats a call that failed with a retryable error; when the policy is used up, the last error is raised.

    So it is as soon as `stop` is asked for.
    """

    def __init__(
        self, inner: Backend, policy: RetryPolicy, time_source: RetryTime = SYSTEM_TIME, stop: Stop | None = None
    ) -> None:
        super().__init__(inner)
        self._policy = policy
        self._time = time_source
        self._stop = stop or Stop()
        self._answered = False  # only ever becomes true

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        """A file that really is too short stays so: that is raised at once, for a damaged one not to cost minutes."""
        attempts = self._attempts(f"op=load file={handle}")
        while True:
            try:
                content = self.inner.load(handle, offset=offset, length=length)
            except BackendError as error:
                if isinstance(error, ShortReadError) and self._ends_before(handle, offset + (length or 0)):
                    raise
                attempts.pause_or_raise(error)
            else:
                self._answered = True
                return content

    def stat(self, handle: Handle) -> FileInfo:
        return self._repeat(f"op=stat file={handle}", partial(self.inner.stat, handle))

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        """A listing that breaks off is begun anew, and what was given already is left out."""
        given: set[str] = set()
        attempts = self._attempts(f"op=list type={file_type.value}")
        while True:
            try:
                for info in self.inner.list_files(file_type):
                    if info.handle.name not in given:
                        given.add(info.handle.name)
                        yield info
            except BackendError as error:
                attempts.pause_or_raise(error)
            else:
                return

    def create(self) -> None:
        self._repeat("op=create", self.inner.create)

    def save(self, handle: Handle, data: Data) -> None:
        attempts = self._attempts(f"op=save file={handle}")
        while True:
            try:
                self.inner.save(handle, data)
            except BackendError as error:
                attempts.pause_or_raise(error)
                self._remove_remnant(handle)
            else:
                self._answered = True
                return

    def remove(self, handle: Handle) -> None:
        self._repeat(f"op=remove file={handle}", partial(self.inner.remove, handle))

    def sweep(self, now: datetime) -> int:
        return self._repeat("op=sweep", partial(self.inner.sweep, now))

    def _remove_remnant(self, handle: Handle) -> None:
        """Some servers keep a part of what they could not finish, and refuse to write over it.

        Nothing is lost if the file was whole after all: its name is the digest of the bytes we are about to save
        again. The config has no such name, so what is there may be all there is; the next save replaces it.
        """
        if handle.name:
            with suppress(BackendError):  # if it matters, the next save fails and tells why
                self.inner.remove(handle)

    def _ends_before(self, handle: Handle, end: int) -> bool:
        try:
            return self.inner.stat(handle).size < end
        except BackendError:
            return False

    def _repeat(self, call: str, action: Callable[[], T]) -> T:
        attempts = self._attempts(call)
        while True:
            try:
                result = action()
            except BackendError as error:
                attempts.pause_or_raise(error)
            else:
                self._answered = True
                return result

    def _attempts(self, call: str) -> _Attempts:
        limit = self._policy.attempts if self._answered else min(self._policy.attempts, self._policy.first_attempts)
        policy = replace(self._policy, attempts=limit)
        return _Attempts(f"{call} location={self.location}", policy, self._time, self._stop)


class _Attempts:
    """The attempts at one call, which begin now."""

    def __init__(self, call: str, policy: RetryPolicy, time_source: RetryTime, stop: Stop) -> None:
        self._call = call
        self._policy = policy
        self._time = time_source
        self._stop = stop
        self._began = time_source.clock()
        self._made = 0

    def pause_or_raise(self, error: BackendError) -> None:
        """Count an attempt that failed with `error`; wait until the next, or raise it when there shall be none."""
        self._made += 1
        pause = self._asked_pause(error) + self._time.uniform(0.0, self._policy.longest_pause(self._made))
        late = self._time.clock() - self._began + pause > self._policy.patience
        if not error.retryable or self._made >= self._policy.attempts or late or self._stop.asked:
            raise error
        log.warning(
            "retry %s attempt=%d of=%d pause=%.1f error=%s",
            self._call,
            self._made + 1,
            self._policy.attempts,
            pause,
            error,
        )
        self._time.sleep(pause)
        if self._stop.asked:
            raise error

    def _asked_pause(self, error: BackendError) -> float:
        asked = error.retry_after if isinstance(error, BackendUnavailableError) else None
        return min(asked or 0.0, self._policy.cap)
