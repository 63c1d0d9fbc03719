"""A process that can be followed step by step, and killed."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from types import TracebackType

from tests.faults.stepping import Command, run_command

_END_SECONDS = 600.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.warm"])


class Victim:
    """A command under way; a stepped one waits at each step until `steps` is asked for the next. Killed at the end."""

    def __init__(self, command: Command, *, stepped: bool = False) -> None:
        self._line, line = _context.Pipe()
        self._command = command
        self._process = _context.Process(target=run_command, args=(command, line if stepped else None), daemon=True)
        self._process.start()
        line.close()

    def __enter__(self) -> Victim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._line.close()

    def steps(self) -> Iterator[str]:
        """Each step, when it is reached; none more when the process has ended."""
        while (step := self.next_step()) is not None:
            yield step
            self.go_on()

    def go_to(self, step: str) -> None:
        """Stop at the step; AssertionError when it is never reached."""
        for reached in iter(self.next_step, None):
            if reached == step:
                return
            self.go_on()
        raise AssertionError(f"{self} ended without reaching step {step}")

    def next_step(self) -> str | None:
        """None when the process has ended."""
        if not self._line.poll(_END_SECONDS):
            raise AssertionError(f"nothing happens for {_END_SECONDS} s in {self}")
        try:
            return str(self._line.recv())
        except (EOFError, ConnectionResetError):
            return None

    def is_silent_for(self, seconds: float) -> bool:
        """Whether it neither reaches a step nor ends within this time."""
        return not self._line.poll(seconds)

    def go_on(self) -> None:
        self._line.send(None)

    def kill(self) -> None:
        """As by kill -9; on return it is gone. AssertionError when it had ended before."""
        self._process.kill()
        self._process.join()
        if self._process.exitcode != -signal.SIGKILL:
            raise AssertionError(f"{self} ended with {self._process.exitcode} before it was killed")

    def end(self) -> None:
        """Wait for its end; AssertionError with all it printed when that is no success."""
        self._process.join(_END_SECONDS)
        if self._process.exitcode != 0:
            said = self._command.output.read_text("utf-8", "replace")
            raise AssertionError(f"{self} ended with {self._process.exitcode}: {said}")

    def __str__(self) -> str:
        return f"icebrick {' '.join(self._command.arguments)}"


def run(command: Command) -> None:
    """From beginning to end; AssertionError with all it printed when it fails."""
    with Victim(command) as victim:
        victim.end()
