"""What the demonstration shows: numbered steps, the commands as they are typed, findings, times."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

_MIB = 1 << 20


class Narrator:
    """Writes to the terminal, or to whatever the standard output is."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._steps = 0
        self._started = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A numbered step with its time."""
        self._steps += 1
        self._console.print(f"\n[bold cyan]{self._steps}  {title}[/]")
        started = time.monotonic()
        yield
        self._console.print(f"   [dim]{time.monotonic() - started:.1f} s[/]")

    def say(self, text: str) -> None:
        self._console.print(f"   {text}", markup=False)

    def command(self, words: Sequence[str]) -> None:
        """A command as a user types it."""
        self._console.print(f"   $ {shlex.join(words)}", markup=False, style="bold")

    def proved(self, what: str) -> None:
        self._console.print(f"   [bold green]✓[/] {what}")

    def end(self, text: str) -> None:
        self._console.print(f"\n[bold green]{text}[/] [dim]{time.monotonic() - self._started:.1f} s[/]")

    def fail(self, text: str) -> int:
        """Say why the demonstration has failed; its exit code."""
        self._console.print(f"\ndemo: {text}", markup=False, style="bold red")
        return 1


def mib(count: int) -> str:
    """Bytes for people: 1572864 is 1.5 MiB."""
    return f"{count / _MIB:,.1f} MiB"
