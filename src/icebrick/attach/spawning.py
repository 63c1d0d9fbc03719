"""os-brick's commands start without a copy of the agent.

oslo.concurrency has Python run one function between fork and exec. Python warns that this can hang in a process with
threads, as the agent is, and the kernel must copy the page tables of a whole agent for each of some thirty commands a
volume. What the function does, resetting SIGPIPE, Python does by itself.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any


def _start(command: Sequence[str], *, preexec_fn: Any, **options: Any) -> Any:
    """In Popen's place; `preexec_fn` is given what the caller wants to run there, if anything."""
    (wanted,) = preexec_fn.args
    if wanted is not None:
        options["preexec_fn"] = preexec_fn
    return subprocess.Popen(command, **options)


def start_commands_lightly() -> None:
    """Patch oslo.concurrency, once for the process."""
    from oslo_concurrency import processutils  # noqa: PLC0415 - see `brick`

    processutils.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _start})
