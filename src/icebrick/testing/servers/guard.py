"""Runs one program, and ends it with everything it started when told to, or when its owner ends, however that ends.

    python -I -S guard.py [--remove FOLDER] OWNER-PID PROGRAM [ARGUMENT ...]

SIGTERM asks the program to end and kills what is left of it some seconds later. SIGUSR1 kills all of it at once, also
what sits in sessions of its own, as the connections of an OpenSSH server do. A process of its own does this because
the alternative, PR_SET_PDEATHSIG set by the owner, fires when the *thread* that started the program ends. FOLDER is
the owner's, who can no longer remove it when it has ended before the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator

SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
GRACE_SECONDS = 5.0


def main() -> int:
    arguments = sys.argv[1:]
    folder = arguments[1] if arguments[0] == "--remove" else None
    owner, *command = arguments[2:] if folder else arguments
    signals, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    alive = os.pidfd_open(int(owner))
    if os.getppid() != int(owner):  # it ended before there was the handle, and the number may be another's
        return 1
    control = ctypes.CDLL(None).prctl
    control(SET_CHILD_SUBREAPER, 1)
    program = start(command, control)
    code = watch(program, alive, signals)
    kill_descendants()
    if folder is not None and select.select([alive], [], [], 0)[0]:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def start(command: list[str], control: ctypes._NamedFuncPointer) -> int:
    """The process id of the program."""
    program = os.fork()
    if program:
        return program
    control(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)  # should the guard itself be killed
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(127)


def watch(program: int, alive: int, signals: int) -> int:
    """Return when the program has ended, or all of it shall be killed; the exit code."""
    poll = select.poll()
    poll.register(alive, select.POLLIN)
    poll.register(signals, select.POLLIN)
    patience: float | None = None
    while True:
        ready = dict(poll.poll(patience))
        if not ready or alive in ready:
            return 0
        for number in os.read(signals, 64):
            if number == signal.SIGUSR1:
                return 0
            if number == signal.SIGTERM:
                os.kill(program, signal.SIGTERM)
                patience = GRACE_SECONDS * 1000
            elif (code := reap(program)) is not None:
                return code


def reap(program: int) -> int | None:
    """Forget children that have ended; the program's exit code when it is one of them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == program:
            code = os.waitstatus_to_exitcode(status)


def kill_descendants() -> None:
    """Return when none is left. Those whose parent ends become children of this process, as it is their reaper."""
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def descendants(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:  # it ended meanwhile
                continue
            children.setdefault(parent, []).append(int(entry))
    waiting = children.get(root, [])
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


if __name__ == "__main__":
    sys.exit(main())
