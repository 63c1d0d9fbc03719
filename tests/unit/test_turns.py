"""Turns: races that a seed repeats, deadlocks that are found, time that takes none."""

from __future__ import annotations

import threading
import time
from random import Random
from types import ModuleType
from typing import Any

import pytest

from icebrick.testing.turns import Deadlock, Turns, patched


def module_with_threads() -> Any:
    """As one of ours that imports these."""
    made = ModuleType("made")
    made.threading, made.time = threading, time  # type: ignore[attr-defined]
    return made


def race(seed: int) -> list[str]:
    """Who does what, of three threads that take a lock twice each."""
    module, done = module_with_threads(), []
    with patched(Turns(Random(seed)), [module]):
        lock = module.threading.Lock()

        def work(name: str) -> None:
            for step in range(2):
                with lock:
                    done.append(f"{name}{step}")

        threads = [module.threading.Thread(target=work, name=name, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert module.threading is threading
    return done


def test_a_seed_repeats_its_order_and_seeds_have_several() -> None:
    orders = {seed: tuple(race(seed)) for seed in range(20)}
    assert {seed: tuple(race(seed)) for seed in range(20)} == orders
    assert len(set(orders.values())) > 5
    assert all(sorted(order) == ["a0", "a1", "b0", "b1", "c0", "c1"] for order in orders.values())


def test_locks_taken_in_two_orders_are_a_deadlock_in_some() -> None:
    met: list[str] = []
    threads = set(threading.enumerate())
    for seed in range(20):
        module = module_with_threads()
        with patched(Turns(Random(seed), eager=0.0), [module]):
            one, two = module.threading.Lock(), module.threading.Lock()

            def work(first: Any, second: Any) -> None:
                with first, second:
                    pass

            other = module.threading.Thread(target=work, name="other", args=(two, one))
            other.start()
            try:
                work(one, two)
                other.join()
            except Deadlock as deadlock:
                met.append(str(deadlock))
    assert 0 < len(met) < 20
    assert set(threading.enumerate()) == threads
    assert all("--- other" in text and "--- main" in text for text in met)


@pytest.mark.parametrize("seed", range(5))
def test_conditions_wake_whom_they_notify(seed: int) -> None:
    module, got = module_with_threads(), []
    with patched(Turns(Random(seed)), [module]):
        changed, queue = module.threading.Condition(), []

        def consume() -> None:
            with changed:
                changed.wait_for(lambda: queue)
                got.append(queue.pop())

        threads = [module.threading.Thread(target=consume, name=str(n)) for n in range(3)]
        for thread in threads:
            thread.start()
        for number in range(3):
            with changed:
                queue.append(number)
                changed.notify()
        for thread in threads:
            thread.join()
    assert sorted(got) == [0, 1, 2]


def test_sleeping_takes_no_time() -> None:
    module = module_with_threads()
    with patched(Turns(Random(0)), [module]):
        before = time.monotonic()
        module.time.sleep(3600)
    assert time.monotonic() - before < 60


def test_an_interruption_reaches_the_main_thread_while_it_waits() -> None:
    module, turns = module_with_threads(), Turns(Random(0))

    def interrupt() -> None:
        raise KeyboardInterrupt

    turns.interrupt(3, interrupt)
    with patched(turns, [module]):
        lock = module.threading.Lock()
        changed = module.threading.Condition(lock)
        gone_on = []

        def work() -> None:
            module.time.sleep(5)
            with lock:
                gone_on.append(True)

        other = module.threading.Thread(target=work, name="other")
        other.start()
        with pytest.raises(KeyboardInterrupt), changed:
            changed.wait()
        other.join()
    assert gone_on == [True]
