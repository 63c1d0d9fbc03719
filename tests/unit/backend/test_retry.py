"""Trying again: what, how often, how long, and what is left behind."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.wrap.retry import RetryBackend, RetryPolicy, RetryTime
from icebrick.errors import AccessDeniedError, BackendUnavailableError, FileMissingError, ShortReadError
from icebrick.parallel import Stop
from icebrick.testing.faults import Fault, FaultyBackend, Kind, Op

PACK = Handle(FileType.PACK, "ab" + "0" * 62)
CONFIG = Handle(FileType.CONFIG)


class FakeTime:
    """Time passes only in `sleep`; chance takes the longest pause there can be."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    @property
    def source(self):
        return RetryTime(clock=lambda: self.now, sleep=self.sleep, uniform=lambda low, high: high)


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def medium():
    return MemoryBackend()


def retrying(medium, time, *plan, **policy):
    return RetryBackend(FaultyBackend(medium, plan), RetryPolicy(**policy), time.source)


def failures(op, count, **rest):
    return [Fault(op, call, **rest) for call in range(1, count + 1)]


@pytest.mark.parametrize("op", [Op.LOAD, Op.STAT, Op.LIST, Op.SAVE, Op.REMOVE])
def test_every_call_is_tried_again(medium, time, op):
    medium.save(PACK, b"pack")
    backend = retrying(medium, time, Fault(op, 1))
    calls = {
        Op.LOAD: lambda: backend.load(PACK),
        Op.STAT: lambda: backend.stat(PACK),
        Op.LIST: lambda: list(backend.list_files(FileType.PACK)),
        Op.SAVE: lambda: backend.save(PACK, b"pack"),
        Op.REMOVE: lambda: backend.remove(PACK),
    }
    calls[op]()
    assert len(time.slept) == 1


def test_a_short_read_is_tried_again(medium, time):
    medium.save(PACK, b"pack")
    assert retrying(medium, time, Fault(Op.LOAD, 1, error=ShortReadError)).load(PACK) == b"pack"


def test_a_file_that_really_is_too_short_is_not_waited_for(medium, time):
    medium.save(PACK, b"cut o")
    with pytest.raises(ShortReadError):
        retrying(medium, time).load(PACK, offset=2, length=6)
    assert time.slept == []


def test_a_short_read_is_tried_again_when_its_size_cannot_be_asked(medium, time):
    medium.save(PACK, b"pack")
    backend = retrying(medium, time, Fault(Op.LOAD, 1, error=ShortReadError), Fault(Op.STAT, 1))
    assert backend.load(PACK, length=4) == b"pack"


@pytest.mark.parametrize("error", [AccessDeniedError, FileMissingError])
def test_what_cannot_get_better_is_raised_at_once(medium, time, error):
    backend = retrying(medium, time, Fault(Op.SAVE, 1, error=error))
    with pytest.raises(error):
        backend.save(PACK, b"pack")
    assert time.slept == []


def test_pauses_double_up_to_the_cap(medium, time):
    backend = retrying(medium, time, *failures(Op.STAT, 9), attempts=6, base=1.0, cap=5.0)
    with pytest.raises(BackendUnavailableError):
        backend.stat(PACK)
    assert time.slept == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_the_last_error_is_raised_when_all_attempts_are_used(medium, time):
    backend = retrying(medium, time, *failures(Op.STAT, 9), attempts=3)
    with pytest.raises(BackendUnavailableError, match="call 3 of stat"):
        backend.stat(PACK)


def test_no_attempt_begins_when_patience_is_at_its_end(medium, time):
    backend = retrying(medium, time, *failures(Op.STAT, 99), attempts=99, base=4.0, cap=4.0, patience=10.0)
    with pytest.raises(BackendUnavailableError):
        backend.stat(PACK)
    assert time.slept == [4.0, 4.0]


def test_every_call_has_its_own_attempts(medium, time):
    medium.save(PACK, b"pack")
    faults = [Fault(Op.STAT, 1), Fault(Op.STAT, 3), Fault(Op.STAT, 5)]
    backend = retrying(medium, time, *faults, attempts=2, base=1.0)
    for _ in range(3):
        backend.stat(PACK)
    assert time.slept == [1.0, 1.0, 1.0]


@given(st.integers(1, 10_000), st.floats(0.001, 100), st.floats(0, 1000))
def test_no_pause_is_longer_than_the_cap(retry, base, cap):
    assert 0 <= RetryPolicy(base=base, cap=cap).longest_pause(retry) <= cap


def test_each_retry_is_a_warning_that_names_the_file_and_the_error(medium, time, caplog):
    medium.save(PACK, b"pack")
    with caplog.at_level(logging.WARNING):
        retrying(medium, time, Fault(Op.LOAD, 1)).load(PACK)
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert str(PACK) in line.getMessage()
    assert "injected fault" in line.getMessage()


# Saves


def test_a_half_written_file_is_removed_and_saved_whole(medium, time):
    faulty = FaultyBackend(medium, [Fault(Op.SAVE, 1, Kind.TORN)])
    RetryBackend(faulty, RetryPolicy(), time.source).save(PACK, b"whole pack")
    assert medium.load(PACK) == b"whole pack"
    assert faulty.calls(Op.REMOVE) == 1


def test_a_config_that_may_be_whole_is_never_removed(medium, time):
    medium.save(CONFIG, b"old")
    backend = retrying(medium, time, *failures(Op.SAVE, 9), attempts=3)
    with pytest.raises(BackendUnavailableError):
        backend.save(CONFIG, b"new")
    assert medium.load(CONFIG) == b"old"


def test_a_remnant_that_cannot_be_removed_does_not_stop_the_next_attempt(medium, time):
    backend = retrying(medium, time, Fault(Op.SAVE, 1), Fault(Op.REMOVE, 1, error=AccessDeniedError))
    backend.save(PACK, b"pack")
    assert medium.load(PACK) == b"pack"


def test_a_save_whose_answer_was_lost_ends_with_one_whole_file(medium, time):
    retrying(medium, time, Fault(Op.SAVE, 1, Kind.AFTER)).save(PACK, b"pack")
    assert medium.load(PACK) == b"pack"


def test_a_removal_whose_answer_was_lost_is_fine(medium, time):
    medium.save(PACK, b"pack")
    retrying(medium, time, Fault(Op.REMOVE, 1, Kind.AFTER)).remove(PACK)
    assert list(medium.list_files(FileType.PACK)) == []


# Listings


def test_a_listing_that_breaks_off_goes_on_without_giving_a_file_twice(medium, time):
    handles = [Handle(FileType.LOCK, f"{number:064x}") for number in range(10)]
    for handle in handles:
        medium.save(handle, b"lock")
    backend = retrying(medium, time, Fault(Op.LIST, 1, Kind.TORN), Fault(Op.LIST, 2, Kind.TORN))
    assert sorted(backend.list_files(FileType.LOCK), key=str) == [FileInfo(handle, 4) for handle in handles]


def test_a_listing_that_keeps_breaking_off_fails_in_the_end(medium, time):
    backend = retrying(medium, time, *failures(Op.LIST, 9, kind=Kind.TORN), attempts=3)
    with pytest.raises(BackendUnavailableError):
        list(backend.list_files(FileType.LOCK))
    assert len(time.slept) == 2


def test_nothing_is_tried_again_when_the_run_is_to_end(medium, time):
    stop = Stop()
    faulty = FaultyBackend(medium, failures(Op.SAVE, 3))
    backend = RetryBackend(faulty, RetryPolicy(), RetryTime(sleep=lambda _: stop.ask(), clock=lambda: 0.0), stop)
    for attempts in (1, 2):  # asked for in the pause after the first, and before the second
        with pytest.raises(BackendUnavailableError):
            backend.save(PACK, b"pack")
        assert faulty.calls(Op.SAVE) == attempts


class BusyBackend(MemoryBackend):
    """Asks once to be left alone for so many seconds."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = [seconds]

    def remove(self, handle):
        if self.seconds:
            raise BackendUnavailableError("busy", retry_after=self.seconds.pop())


@pytest.mark.parametrize(("asked", "paused"), [(7.0, 8.0), (0.0, 1.0), (3600.0, 61.0), (None, 1.0)])
def test_a_storage_that_says_for_how_long_is_left_alone_so_long_but_not_for_ever(time, asked, paused):
    RetryBackend(BusyBackend(asked), RetryPolicy(base=1.0, cap=60.0), time.source).remove(PACK)
    assert time.slept == [paused]


def test_a_storage_that_never_answered_is_soon_given_up(medium, time):
    backend = retrying(medium, time, *failures(Op.STAT, 20), attempts=12, first_attempts=3)
    with pytest.raises(BackendUnavailableError):
        backend.stat(CONFIG)
    assert len(time.slept) == 2


def test_a_storage_that_answered_once_is_waited_for(medium, time):
    medium.save(PACK, b"pack")
    backend = retrying(medium, time, *failures(Op.STAT, 7), attempts=12, first_attempts=3)
    backend.load(PACK)
    assert backend.stat(PACK).size == 4
    assert len(time.slept) == 7
