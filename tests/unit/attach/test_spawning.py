"""os-brick's commands, started by a large process with threads."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from oslo_concurrency import processutils

from icebrick.attach.spawning import start_commands_lightly


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None] | None]:
    """What is to run between fork and exec of each command."""
    seen: list[Callable[[], None] | None] = []
    plain = subprocess.Popen.__init__

    def started(self: subprocess.Popen[bytes], *args: Any, preexec_fn: Any = None, **kwargs: Any) -> None:
        seen.append(preexec_fn)
        plain(self, *args, preexec_fn=preexec_fn, **kwargs)

    monkeypatch.setattr(processutils, "subprocess", processutils.subprocess)  # put back in the end
    monkeypatch.setattr(subprocess.Popen, "__init__", started)
    start_commands_lightly()
    return seen


def test_a_command_starts_with_nothing_between_and_as_if_there_had_been(between: list[Any]) -> None:
    ignored, _ = processutils.execute("grep", "SigIgn", "/proc/self/status")
    assert int(ignored.split()[1], 16) & 1 << signal.SIGPIPE - 1 == 0
    assert between == [None]


def test_what_a_caller_wants_to_run_between_runs(between: list[Any]) -> None:
    def say() -> None:
        os.write(1, b"between ")

    assert processutils.execute("echo", "after", preexec_fn=say) == ("between after\n", "")
    assert len(between) == 1
    assert between[0] is not None


def test_a_command_that_fails_is_told_as_ever(between: list[Any]) -> None:
    with pytest.raises(processutils.ProcessExecutionError, match="Exit code: 1"):
        processutils.execute("false")
