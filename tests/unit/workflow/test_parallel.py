"""Jobs at once: as many as are allowed and the quota lets be, each with an outcome of its own, all ended at the end."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from icebrick.cli.signals import unwind_on_signals
from icebrick.errors import CloudError, Interrupted, QuotaError
from icebrick.workflow.parallel import Capacity, Done, Failed, NotBegun, new_capacity, run_jobs

PATIENCE = 20.0  # seconds; only a test that fails waits so long


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def capacity(jobs: int) -> Capacity:
    return new_capacity(jobs, threads=1)


def test_results_come_in_the_order_of_the_jobs() -> None:
    first_may_end = threading.Event()

    def work(job: int) -> int:
        if job == 0:
            first_may_end.wait(PATIENCE)
        if job == 2:
            first_may_end.set()
        return job * 10

    assert run_jobs([0, 1, 2], work, capacity(3)) == [Done(0), Done(10), Done(20)]


def test_so_many_jobs_are_at_work_at_once_and_no_more() -> None:
    at_work, most = 0, 0
    lock, together = threading.Lock(), threading.Barrier(3)

    def work(_: int) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        together.wait(PATIENCE)
        with lock:
            at_work -= 1

    run_jobs(range(9), work, capacity(3))
    assert most == 3


def test_no_jobs_are_no_work() -> None:
    assert run_jobs([], pytest.fail, capacity(3)) == []


def test_one_jobs_failure_is_its_outcome_and_stops_no_other() -> None:
    def work(job: int) -> int:
        if job == 1:
            raise CloudError("no")
        return job

    first, second, third = run_jobs([0, 1, 2], work, capacity(1))
    assert (first, third) == (Done(0), Done(2))
    assert isinstance(second, Failed)
    assert str(second.error) == "no"


def test_a_bug_is_raised_when_the_others_have_ended() -> None:
    stop_seen, both = threading.Event(), threading.Barrier(2)
    host = capacity(2)

    def work(job: int) -> None:
        both.wait(PATIENCE)
        if job == 0:
            raise ZeroDivisionError
        while not host.stop.asked:
            threading.Event().wait(0.001)
        stop_seen.set()

    with pytest.raises(ZeroDivisionError):
        run_jobs([0, 1], work, host)
    assert stop_seen.is_set()


class Quota:
    """Room for so much; a job takes what it needs while it is at work."""

    def __init__(self, room: int) -> None:
        self.attempts: Counter[str] = Counter()
        self._room = room
        self._lock = threading.Lock()

    def take(self, job: str, amount: int, meanwhile: Callable[[], object]) -> None:
        with self._lock:
            self.attempts[job] += 1
            if amount > self._room:
                raise QuotaError(f"no room for {amount}")
            self._room -= amount
        meanwhile()
        with self._lock:
            self._room += amount


def test_a_job_that_the_quota_has_no_room_for_is_begun_again_when_another_has_ended() -> None:
    quota, second_has_failed = Quota(10), threading.Event()

    def work(job: str) -> None:
        try:
            quota.take(job, 6, lambda: job == "first" and second_has_failed.wait(PATIENCE))
        except QuotaError:
            second_has_failed.set()
            raise

    assert run_jobs(["first", "second"], work, capacity(2)) == [Done(None)] * 2
    assert quota.attempts == {"first": 1, "second": 2}


def test_a_job_that_is_too_large_even_alone_fails_and_the_others_are_done() -> None:
    quota = Quota(10)

    def work(amount: int) -> int:
        quota.take(str(amount), amount, lambda: threading.Event().wait(0.001))
        return amount

    outcomes = run_jobs([3, 11, 4, 9, 2, 5], work, capacity(4))
    assert [outcome.result if isinstance(outcome, Done) else None for outcome in outcomes] == [3, None, 4, 9, 2, 5]
    assert isinstance(outcomes[1], Failed)
    assert isinstance(outcomes[1].error, QuotaError)


def test_a_job_that_cannot_go_on_alone_waits_for_what_another_gives_back_by_ending() -> None:
    ended: list[str] = []

    def work(job: str) -> None:
        if job == "waits" and "shares" not in ended:
            raise QuotaError("what others share takes all the room until the last of them has ended")
        ended.append(job)

    assert run_jobs(["waits", "shares"], work, capacity(1)) == [Done(None)] * 2
    assert ended == ["shares", "waits"]


def test_jobs_none_of_which_can_go_on_all_fail_and_are_not_tried_forever() -> None:
    attempts = Counter[int]()

    def work(number: int) -> None:
        attempts[number] += 1
        raise QuotaError("no room")

    assert all(isinstance(outcome, Failed) for outcome in run_jobs(range(20), work, capacity(4)))
    assert sum(attempts.values()) < 100


@pytest.mark.parametrize("room", [7, 10, 20, 100])
def test_with_any_quota_that_suffices_for_each_job_all_are_done(room: int) -> None:
    quota = Quota(room)

    def work(number: int) -> None:
        quota.take(str(number), 1 + number % 7, lambda: threading.Event().wait(0.0005))

    assert run_jobs(range(100), work, capacity(8)) == [Done(None)] * 100
    assert sum(quota.attempts.values()) < 300


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_all_jobs_clear_up_and_it_is_told_what_became_of_each(number: signal.Signals) -> None:
    host, cleared, both = capacity(2), set[str](), threading.Barrier(2)

    def work(job: str) -> str:
        if job == "done":
            return job
        if both.wait(PATIENCE) == 0:
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        try:
            while True:
                host.stop.check()
                threading.Event().wait(0.001)
        finally:
            cleared.add(job)

    with unwind_on_signals():
        outcomes = run_jobs(["done", "one", "two", "late", "later"], work, host)
    assert outcomes[0] == Done("done")
    assert [isinstance(each, Failed) and type(each.error) for each in outcomes[1:3]] == [Interrupted] * 2
    assert outcomes[3:] == [NotBegun()] * 2
    assert cleared == {"one", "two"}
