"""What is kept, and how much of it."""

from __future__ import annotations

import threading

import pytest

from icebrick.mount.cache import Cache


def test_what_is_kept_is_not_made_again() -> None:
    cache = Cache[str, bytes](100, len)
    cache.get("a", lambda: b"made")
    assert cache.get("a", lambda: b"made again") == b"made"


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = Cache[str, bytes](3, len)
    for name in ("a", "b", "c", "a", "d"):
        cache.get(name, lambda: b"x")
    assert [name for name in "abcd" if cache.has(name)] == ["a", "c", "d"]


def test_what_is_heavier_than_all_that_may_be_kept_is_kept_alone() -> None:
    cache = Cache[str, bytes](3, len)
    cache.get("small", lambda: b"x")
    cache.get("large", lambda: bytes(100))
    assert cache.has("large")
    assert not cache.has("small")


def test_after_an_error_the_next_one_tries_again() -> None:
    cache = Cache[str, bytes](3, len)

    def fail() -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("a", fail)
    assert cache.get("a", lambda: b"x") == b"x"


def test_several_that_ask_at_once_have_it_made_once() -> None:
    cache = Cache[str, bytes](100, len)
    made: list[str] = []
    begun, finish = threading.Event(), threading.Event()

    def make() -> bytes:
        made.append("x")
        begun.set()
        finish.wait(10)
        return b"made"

    first = threading.Thread(target=lambda: cache.get("a", make))
    first.start()
    begun.wait(10)
    second = threading.Thread(target=lambda: cache.get("a", make))
    second.start()
    finish.set()
    first.join()
    second.join()
    assert made == ["x"]
