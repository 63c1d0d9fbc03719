"""Starting, killing and ending the processes of a storage server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 60.0
_GUARD = Path(__file__).with_name("guard.py")
_END_SECONDS = 20.0
_FOLDERS = ("/usr/sbin", "/sbin")


class ServerError(Exception):
    """A storage server could not be started or ended; the message has its last words."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: it serves when its port answers, and `ready` says so if that is not enough."""

    name: str
    command: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = lambda: True


class Process:
    """One program, to be started again and again; it does not outlive this process. For one thread at a time."""

    def __init__(self, program: Program, folder: Path) -> None:
        self._program = program
        self._log = folder / f"{program.name}.log"
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self._program.port

    @property
    def runs(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> None:
        """Begin to start it; see `wait_ready`."""
        command = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *self._program.command]
        with self._log.open("ab") as log:
            self._guard = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                env=_environment() | dict(self._program.environment),
                start_new_session=True,  # a Ctrl-C at the terminal is for the tests alone
            )

    def wait_ready(self) -> None:
        """Return when it serves; ServerError when it ends before, or takes too long."""
        end = time.monotonic() + START_SECONDS
        while not (answers(self._program.port) and self._program.ready()):
            if not self.runs:
                raise ServerError(f"{self._program.name} ended: {self._last_words()}")
            if time.monotonic() > end:
                raise ServerError(f"{self._program.name} does not answer: {self._last_words()}")
            time.sleep(0.02)

    def ask_to_end(self) -> None:
        """End it in an orderly way; see `wait_ended`."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its children at once, as by kill -9; see `wait_ended`."""
        self._signal(signal.SIGUSR1)

    def wait_ended(self) -> None:
        if self._guard is not None:
            self._guard.wait(_END_SECONDS)
            self._guard = None

    def _signal(self, number: int) -> None:
        if self._guard is not None:
            self._guard.send_signal(number)

    def _last_words(self) -> str:
        return " / ".join(self._log.read_text(errors="replace").splitlines()[-5:])


def answers(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def reserve_port() -> socket.socket:
    """A socket that keeps a free port from everybody but a server of ours, which may listen there all the same.

    Servers set SO_REUSEADDR, and so does this, and it does not listen: then the kernel lets both bind, and gives the
    port to no one else, not even while the server is dead.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    return holder


def find_program(name: str) -> str | None:
    """Its path, also where it is not on everybody's PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS]))


def need_program(name: str) -> str:
    path = find_program(name)
    if path is None:
        raise ServerError(f"program {name} is not installed")
    return path


def _environment() -> dict[str, str]:
    """Ours, without what would make a server, or a client in it, act as somebody else or through a proxy."""
    foreign = ("OS_", "ST_", "AWS_", "RCLONE_", "PYTHON", "RESTIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")} | {"no_proxy": "*"}
