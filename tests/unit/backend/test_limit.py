"""Rates and numbers of calls."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebrick.backend.base import BackendWrapper, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.wrap.limit import LimitBackend, TokenBucket
from icebrick.errors import FileMissingError, Interrupted
from icebrick.parallel import Stop, Workers

PACK = Handle(FileType.PACK, "ab" + "0" * 62)


class FakeClock:
    """Time passes only when somebody sleeps, or the test says so."""

    def __init__(self):
        self.now = 500.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock():
    return FakeClock()


def bucket_on(clock, rate, burst=None):
    return TokenBucket(rate, burst=burst, clock=clock, sleep=clock.sleep)


amounts = st.integers(0, 10_000)
gaps = st.floats(0, 20)


@given(st.integers(1, 1000), st.integers(0, 5000), st.lists(st.tuples(amounts, gaps), max_size=30))
def test_never_more_than_rate_and_burst_allow_have_passed(rate, burst, takes):
    clock = FakeClock()
    bucket, began, passed = bucket_on(clock, rate, burst), clock.now, 0
    for amount, gap in takes:
        bucket.take(amount)
        passed += amount
        assert passed <= burst + rate * (clock.now - began) + 1e-3
        clock.now += gap


@given(st.integers(1, 1000), st.integers(0, 5000), st.lists(amounts, min_size=1, max_size=30))
def test_nobody_waits_longer_than_the_rate_demands(rate, burst, takes):
    clock = FakeClock()
    bucket, began = bucket_on(clock, rate, burst), clock.now
    for amount in takes:
        bucket.take(amount)
    assert clock.now - began == pytest.approx(max(0, sum(takes) - burst) / rate, abs=1e-3)


def test_time_unused_is_worth_no_more_than_the_burst(clock):
    bucket = bucket_on(clock, 100, burst=50)
    clock.now += 1000
    bucket.take(150)
    assert clock.now == 500 + 1000 + 1


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_that_lets_nothing_pass_is_a_mistake(rate):
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(rate)


def test_a_save_waits_for_the_upload_bucket_before_it_reaches_the_medium(clock):
    reached = []

    class Medium(BackendWrapper):
        def save(self, handle, data):
            reached.append(clock.now)

    backend = LimitBackend(Medium(MemoryBackend()), upload=bucket_on(clock, 10, burst=0))
    backend.save(PACK, bytes(50))
    assert reached == [505.0]


def test_a_load_waits_for_the_download_bucket_by_what_it_read(clock):
    backend = LimitBackend(MemoryBackend(), download=bucket_on(clock, 10, burst=0))
    backend.save(PACK, bytes(1000))
    assert clock.now == 500
    backend.load(PACK, offset=100, length=20)
    assert clock.now == 502


def test_who_waits_for_a_bucket_ends_when_that_is_asked_for(clock):
    stop = Stop()
    bucket = TokenBucket(10, burst=0, clock=clock, stop=stop)
    stop.ask()
    with pytest.raises(Interrupted):
        LimitBackend(MemoryBackend(), upload=bucket).save(PACK, bytes(1 << 20))


def test_a_lock_waits_for_no_bucket(clock):
    lock = Handle(FileType.LOCK, PACK.name)
    bucket = bucket_on(clock, 10, burst=0)
    backend = LimitBackend(MemoryBackend(), upload=bucket, download=bucket)
    backend.save(lock, bytes(100))
    backend.load(lock)
    assert clock.now == 500


def test_as_many_calls_as_there_are_connections_run_at_once_and_no_more():
    both = threading.Barrier(2, timeout=10)
    lock, running, most = threading.Lock(), 0, 0

    class Medium(BackendWrapper):
        def load(self, handle, *, offset=0, length=None):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            both.wait()  # only two at once get past here
            with lock:
                running -= 1
            return b""

    backend = LimitBackend(Medium(MemoryBackend()), connections=2)
    with Workers(backend.load, threads=4) as workers:
        for _ in range(8):
            workers.put(PACK)
    assert most == 2


def test_a_call_that_failed_gives_its_connection_back():
    backend = LimitBackend(MemoryBackend(), connections=1)
    for _ in range(3):
        with pytest.raises(FileMissingError):
            backend.load(PACK)


def test_the_connections_are_those_of_the_medium_unless_told():
    assert LimitBackend(MemoryBackend()).connections == MemoryBackend().connections
    assert LimitBackend(MemoryBackend(), connections=7).connections == 7
