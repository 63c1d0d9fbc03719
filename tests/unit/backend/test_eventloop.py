"""Coroutines for threads that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from icebrick.backend.sftp.eventloop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop("test")
    yield loop
    loop.close()


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


async def fail() -> None:
    raise OSError("no")


def running() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("test")}


def test_what_a_coroutine_returns_or_raises_the_caller_gets(loop: EventLoop) -> None:
    assert loop.run(answer()) == 42
    with pytest.raises(OSError, match="no"):
        loop.run(fail())


def test_no_thread_is_there_before_the_first_call_nor_after_the_end(loop: EventLoop) -> None:
    assert running() == set()
    loop.run(answer())
    assert len(running()) == 1
    loop.close()
    assert running() == set()


def test_what_still_runs_at_the_end_is_cancelled(loop: EventLoop) -> None:
    ended = threading.Event()

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    tasks = []

    async def begin() -> None:
        tasks.append(asyncio.get_running_loop().create_task(last()))
        await asyncio.sleep(0)

    loop.run(begin())
    loop.close()
    assert ended.is_set()


def test_nothing_runs_after_the_end(loop: EventLoop) -> None:
    loop.close()
    late = answer()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run(late)
    late.close()
    assert running() == set()
