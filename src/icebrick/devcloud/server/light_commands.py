"""Commands start without a copy of the whole process that starts them.

oslo.concurrency has Python run a function between fork and exec, so that the kernel copies all page tables first: most
of a second for a Cinder under User Mode Linux. What it does, resetting SIGPIPE, Python does by itself.
"""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

from oslo_concurrency import processutils


def _start(command, *, preexec_fn, **options):
    """In Popen's place; `preexec_fn` is given what the caller wants to run there, if anything."""
    (wanted,) = preexec_fn.args
    if wanted is not None:
        options["preexec_fn"] = preexec_fn
    return subprocess.Popen(command, **options)


def start_commands_lightly() -> None:
    """Patch oslo.concurrency."""
    processutils.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _start})
