from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from icebrick.errors import Interrupted
from icebrick.parallel import Pool, Slots, Stop, Workers

pytestmark = pytest.mark.usefixtures("no_thread_outlives_its_test")
PATIENCE = 20.0  # seconds; only a test that fails waits so long


class PlannedError(Exception):
    """What the tests make work fail with."""


def finishes(call: Callable[[], None]) -> bool:
    """Whether a call that must not block comes back; the thread of one that does is left to die with the process."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


def fail(item: object) -> None:
    raise PlannedError(str(item))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_everything_put_is_done_when_the_block_has_ended(threads: int) -> None:
    done: list[int] = []
    with Workers(done.append, threads=threads) as workers:
        for item in range(1000):
            workers.put(item)
    assert sorted(done) == list(range(1000))


def test_one_thread_works_in_the_order_of_putting() -> None:
    done: list[int] = []
    with Workers(done.append, threads=1, depth=3) as workers:
        for item in range(100):
            workers.put(item)
    assert done == list(range(100))


def test_a_block_in_which_nothing_is_put_just_ends() -> None:
    with Workers(fail, threads=3):
        pass


def test_false_and_empty_items_are_items() -> None:
    done: list[object] = []
    with Workers(done.append, threads=1) as workers:
        for item in (0, "", None, False, []):
            workers.put(item)
    assert done == [0, "", None, False, []]


def test_no_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        Workers(fail, threads=0)


def test_all_threads_work_at_once() -> None:
    together = threading.Barrier(4, timeout=PATIENCE)
    with Workers(lambda _: together.wait() and None, threads=4) as workers:
        for item in range(4):
            workers.put(item)


def test_a_failure_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(PlannedError, match=r"^only$"), Workers(fail, threads=2) as workers:
        workers.put("only")


def test_a_failure_is_raised_by_a_later_put() -> None:
    reached = 0
    with pytest.raises(PlannedError), Workers(fail, threads=1, depth=1) as workers:
        for reached in range(1000):
            workers.put(reached)
    assert reached < 10


def test_the_first_of_several_failures_is_the_one_raised() -> None:
    second_may_fail = threading.Event()

    def work(item: str) -> None:
        if item == "second":
            second_may_fail.wait(PATIENCE)
            raise PlannedError(item)
        try:
            raise PlannedError(item)
        finally:
            threading.Timer(0.05, second_may_fail.set).start()

    with pytest.raises(PlannedError, match=r"^first$"), Workers(work, threads=2, depth=4) as workers:
        workers.put("second")
        workers.put("first")


def test_after_a_failure_nothing_more_is_begun() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        raise PlannedError

    with pytest.raises(PlannedError), Workers(work, threads=1, depth=100) as workers:
        for item in range(50):
            workers.put(item)
    assert begun == [0]


def test_after_a_failure_the_other_threads_end_with_what_they_have() -> None:
    begun: list[str] = []
    slow_began, failed = threading.Event(), threading.Event()

    def work(item: str) -> None:
        begun.append(item)
        if item == "slow":
            slow_began.set()
            failed.wait(PATIENCE)
            threading.Event().wait(0.05)  # let the failure be noted
        elif item == "fails":
            slow_began.wait(PATIENCE)
            failed.set()
            raise PlannedError

    with pytest.raises(PlannedError), Workers(work, threads=2, depth=10) as workers:
        for item in ("slow", "fails", "third", "fourth"):
            workers.put(item)
    assert sorted(begun) == ["fails", "slow"]


def test_putting_never_blocks_for_ever_when_all_threads_have_failed() -> None:
    def use() -> None:
        with pytest.raises(PlannedError), Workers(fail, threads=2, depth=1) as workers:
            while True:
                workers.put(1)

    assert finishes(use)


def test_a_put_that_waits_for_room_is_woken_by_a_failure() -> None:
    may_fail = threading.Event()

    def work(item: int) -> None:
        may_fail.wait(PATIENCE)
        raise PlannedError

    def use() -> None:
        with pytest.raises(PlannedError), Workers(work, threads=1, depth=1) as workers:
            workers.put(0)
            threading.Timer(0.05, may_fail.set).start()
            for item in range(10):
                workers.put(item)

    assert finishes(use)


def test_a_put_from_another_thread_does_not_block_for_ever_either() -> None:
    outcomes: list[str] = []

    def producer(workers: Workers[int]) -> None:
        try:
            while True:
                workers.put(1)
        except PlannedError:
            outcomes.append("told")

    def use() -> None:
        with pytest.raises(PlannedError), Workers(fail, threads=1, depth=1) as workers:
            producers = [threading.Thread(target=producer, args=(workers,)) for _ in range(4)]
            for thread in producers:
                thread.start()
            for thread in producers:
                thread.join()

    assert finishes(use)
    assert outcomes == ["told"] * 4


def test_at_most_depth_items_wait() -> None:
    begun, go_on = threading.Event(), threading.Event()
    fourth_was_put = threading.Event()

    def work(item: int) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    def use() -> None:
        with Workers(work, threads=1, depth=2) as workers:
            workers.put(1)
            begun.wait(PATIENCE)
            workers.put(2)
            workers.put(3)
            workers.put(4)
            fourth_was_put.set()

    thread = threading.Thread(target=use)
    thread.start()
    begun.wait(PATIENCE)
    assert not fourth_was_put.wait(0.1)
    go_on.set()
    thread.join()
    assert fourth_was_put.is_set()


def test_an_exception_in_the_block_drops_what_was_not_begun() -> None:
    begun: list[int] = []
    first_began, body_failed = threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        first_began.set()
        body_failed.wait(0.1)

    with pytest.raises(PlannedError, match=r"^body$"), Workers(work, threads=1, depth=10) as workers:
        for item in range(5):
            workers.put(item)
        first_began.wait(PATIENCE)
        raise PlannedError("body")
    assert begun == [0]


def test_the_exception_of_the_block_is_raised_even_when_work_failed_too() -> None:
    failed = threading.Event()

    def work(item: int) -> None:
        failed.set()
        raise PlannedError("work")

    with pytest.raises(KeyboardInterrupt), Workers(work, threads=1) as workers:
        workers.put(1)
        failed.wait(PATIENCE)
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_whatever_work_raises_reaches_the_caller(kind: type[BaseException]) -> None:
    def work(item: int) -> None:
        raise kind

    with pytest.raises(kind), Workers(work, threads=2) as workers:
        workers.put(1)


class Interrupting(threading.Thread):
    """Its first `join` is interrupted, as a signal does to the main thread."""

    joins = 0

    def join(self, timeout: float | None = None) -> None:
        type(self).joins += 1
        if self.joins == 1:
            raise KeyboardInterrupt
        super().join(timeout)


def test_an_interruption_while_the_block_waits_for_its_end_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interrupting, "joins", 0)
    monkeypatch.setattr("icebrick.parallel.threading.Thread", Interrupting)
    release = threading.Event()
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        release.wait(0.1)

    with pytest.raises(KeyboardInterrupt), Workers(work, threads=2, depth=20) as workers:
        for item in range(20):
            workers.put(item)
    assert len(begun) < 20


class Unstartable(threading.Thread):
    """The third one cannot be started, as at the limit of processes."""

    starts = 0

    def start(self) -> None:
        type(self).starts += 1
        if self.starts == 3:
            raise RuntimeError("can't start new thread")
        super().start()


def test_when_a_thread_cannot_be_started_those_before_it_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unstartable, "starts", 0)
    monkeypatch.setattr("icebrick.parallel.threading.Thread", Unstartable)
    with pytest.raises(RuntimeError, match="can't start"), Workers(fail, threads=4):
        pytest.fail("the block was entered")


def test_a_thing_is_lent_to_one_thread_at_a_time() -> None:
    pool: Pool[list[int]] = Pool(list)
    clashes: list[int] = []

    def work(item: int) -> None:
        with pool.borrow() as mine:
            mine.append(item)
            if mine[-1] != item:
                clashes.append(item)

    with Workers(work, threads=8) as workers:
        for item in range(2000):
            workers.put(item)
    made = list(pool.drain())
    assert not clashes
    assert len(made) <= 8
    assert sorted(item for things in made for item in things) == list(range(2000))


def test_what_was_given_back_is_lent_again_before_a_new_one_is_made() -> None:
    pool: Pool[object] = Pool(object)
    with pool.borrow() as first:
        pass
    with pool.borrow() as second, pool.borrow() as third:
        assert second is first
        assert third is not first


def test_a_thing_is_given_back_when_the_block_fails() -> None:
    pool: Pool[object] = Pool(object)
    with pytest.raises(PlannedError), pool.borrow() as lent:
        raise PlannedError
    assert list(pool.drain()) == [lent]


def test_what_is_lent_is_not_drained() -> None:
    pool: Pool[object] = Pool(object)
    with pool.borrow():
        assert list(pool.drain()) == []
    assert len(list(pool.drain())) == 1


def test_no_more_threads_hold_a_slot_than_there_are() -> None:
    slots, working, most = Slots(3), 0, 0
    lock = threading.Lock()

    def work(_: int) -> None:
        nonlocal working, most
        with slots.take():
            with lock:
                working += 1
                most = max(most, working)
            threading.Event().wait(0.001)
            with lock:
                working -= 1

    with Workers(work, threads=12) as workers:
        for number in range(60):
            workers.put(number)
    assert most == 3


def queued(slots: Slots, count: int) -> None:
    """Return when so many threads wait for a slot."""
    while len(slots._waiting) < count:
        threading.Event().wait(0.001)


def test_slots_are_given_in_the_order_of_asking() -> None:
    slots, order = Slots(1), list[int]()

    def work(number: int) -> None:
        with slots.take():
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    with slots.take():
        for number, thread in enumerate(threads):
            thread.start()
            queued(slots, number + 1)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list(range(20))


def test_who_comes_later_does_not_overtake_who_was_woken() -> None:
    slots, order = Slots(1), list[str]()

    def work(name: str) -> None:
        with slots.take():
            order.append(name)

    first = threading.Thread(target=work, args=("first",))
    with slots.take():
        first.start()
        queued(slots, 1)
    work("second")
    first.join(PATIENCE)
    assert order == ["first", "second"]


def test_memory_belongs_to_the_slot_and_grows_when_more_is_needed() -> None:
    slots = Slots(1)
    with slots.take() as slot:
        slot.memory(5000)[:] = b"x" * 5000
    with slots.take() as slot:
        assert bytes(slot.memory(4000)) == b"x" * 4000
        assert len(slot.memory(1 << 20)) == 1 << 20


def test_a_slot_is_given_back_when_the_block_fails() -> None:
    slots = Slots(1)
    with pytest.raises(PlannedError), slots.take():
        raise PlannedError
    with slots.take():
        pass


def test_who_waits_for_a_slot_is_told_that_the_run_ends() -> None:
    stop = Stop()
    slots, told = Slots(1, stop), list[int]()

    def work(number: int) -> None:
        try:
            with slots.take():
                pytest.fail("got a slot")
        except Interrupted:
            told.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    with slots.take():
        for thread in threads:
            thread.start()
        queued(slots, 5)
        stop.ask()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(told) == list(range(5))
    with pytest.raises(Interrupted), slots.take():
        pytest.fail("got a slot")


def test_whoever_checks_is_told_once_a_stop_is_asked_for() -> None:
    stop = Stop()
    stop.check()
    stop.ask()
    assert stop.asked
    with pytest.raises(Interrupted) as told:
        stop.check()
    assert told.value.exit_code == 130


def test_a_pause_is_cut_short_when_a_stop_is_asked_for() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.ask).start()
    assert finishes(lambda: stop.pause(3600))
