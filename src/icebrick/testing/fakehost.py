"""A host whose time stands still until it is told to move, for tests of locks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from icebrick.repository.lockfile import Host
from icebrick.repository.timestamp import NANOSECONDS, Timestamp, parse_timestamp

_START = parse_timestamp("2026-11-23T06:00:00Z")


class FakeTime:
    """Sleeping moves it on at once, and calls `while_asleep` as what others do meanwhile."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.while_asleep: Callable[[], None] = lambda: None
        self._now = _START

    def now(self) -> Timestamp:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_by(timedelta(seconds=seconds))
        self.while_asleep()

    def pass_by(self, duration: timedelta) -> None:
        self._now = Timestamp(self._now.ns + duration // timedelta(microseconds=1) * (NANOSECONDS // 1_000_000))


def fake_host(time: FakeTime, *, name: str = "here", pid: int = 100, alive: tuple[int, ...] = (100,)) -> Host:
    """A host on which only the processes in `alive` run."""
    return Host(name, pid, "root", 0, 0, time.now, time.sleep, lambda process: process in alive)
