"""Bars at a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from icebrick.cli.bars import Bars


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def bars(screen: io.StringIO) -> Bars:
    return Bars(Console(file=screen, force_terminal=True, width=100, color_system=None))


def test_a_task_shows_its_name_and_bytes(bars: Bars, screen: io.StringIO) -> None:
    with bars.task("read [bold]x", total=4 << 20, unit="B") as task:
        task.advance(1 << 20)
        bars._drawing.refresh()
    assert "read [bold]x" in screen.getvalue()
    assert "1.0/4.0 MiB" in screen.getvalue()


def test_counted_things_are_shown_with_their_noun(bars: Bars, screen: io.StringIO) -> None:
    with bars.task("load index", total=3, unit="files") as task:
        task.advance(2)
        task.set_total(4)
        bars._drawing.refresh()
    assert "2/4 files" in screen.getvalue()


def test_nothing_is_drawn_once_the_last_task_has_ended(bars: Bars, screen: io.StringIO) -> None:
    with bars.task("outer"), bars.task("inner"):
        pass
    drawn = screen.getvalue()
    bars._drawing.refresh()
    assert screen.getvalue() == drawn


def test_bars_come_back_for_the_next_task(bars: Bars, screen: io.StringIO) -> None:
    with bars.task("first"):
        pass
    with bars.task("second"):
        bars._drawing.refresh()
    assert "second" in screen.getvalue()
