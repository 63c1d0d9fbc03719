"""Starting, finding and ending the server processes of a devcloud.

A server is found by its command line, which names the devcloud's directory. So it is found also when the process
that started it was killed before it could write anything down, and a number that now belongs to another is no danger.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from icebrick.devcloud.layout import Layout
from icebrick.devcloud.record import ProcessId, Settings
from icebrick.errors import DevcloudError

KEYSTONE = "keystone"
CINDER = "cinder"
NOVA = "nova"
BARBICAN = "barbican"
SERVERS = (KEYSTONE, CINDER, NOVA, BARBICAN)
SERVER_FOLDER = Path(__file__).parent / "server"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TERM_SECONDS = 5.0
_END_SECONDS = 30.0


def servers_of(settings: Settings) -> frozenset[str]:
    """The names of the servers that a devcloud of these settings has."""
    wanted = {KEYSTONE: True, CINDER: True, NOVA: settings.compute, BARBICAN: settings.key_manager}
    return frozenset(name for name in SERVERS if wanted[name])


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server. `memory` is its resident size in bytes."""

    name: str
    pid: int
    memory: int


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A server that was just started. `ready` is the end of a pipe it writes a line to; the holder closes it."""

    name: str
    process: subprocess.Popen[bytes]
    ready: int


def _script(name: str) -> Path:
    return SERVER_FOLDER / f"{name}_server.py"


def start_server(
    name: str, layout: Layout, python: Path, listener: socket.socket, owner: ProcessId | None
) -> StartedServer:
    """Start a server that serves on `listener`, which listens already, and ends when its owner ends."""
    ready, ready_in_server = os.pipe()
    alive = os.open(layout.alive, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(alive, fcntl.LOCK_SH)
    inherited = (listener.fileno(), ready_in_server, alive)
    command = [str(python), str(_script(name)), "--directory", str(layout.directory)]
    command += ["--listen-fd", str(inherited[0]), "--ready-fd", str(inherited[1])]
    if owner is not None:
        command += ["--owner", str(owner.pid)]
    try:
        with layout.output(name).open("wb") as output:
            process = subprocess.Popen(
                command,
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=layout.directory,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C at the terminal is for the owner alone
            )
    except OSError as error:
        os.close(ready)
        raise DevcloudError(f"cannot start {name} with {python}: {error.strerror}") from error
    finally:
        os.close(ready_in_server)
        os.close(alive)
    return StartedServer(name, process, ready)


def _environment() -> dict[str, str]:
    """Ours, without what would make a server or a client inside it act as somebody else."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "PYTHON"))}
    direct = {"no_proxy": "*", "NO_PROXY": "*"}  # Cinder asks Keystone, on this host, whatever proxy we are behind
    return {**kept, **direct, "PYTHONWARNINGS": "ignore"}


def wait_ready(servers: Sequence[StartedServer], layout: Layout, *, timeout: float) -> None:
    """Wait until all serve requests; DevcloudError when one ends before, or after `timeout` seconds."""
    waiting = {server.ready: server.name for server in servers}
    end = time.monotonic() + timeout
    while waiting:
        readable = select.select(list(waiting), [], [], max(0.0, end - time.monotonic()))[0]
        if not readable:
            raise DevcloudError(f"{', '.join(waiting.values())} of the devcloud did not start in {timeout:.0f} seconds")
        for descriptor in readable:
            name = waiting.pop(descriptor)
            if not os.read(descriptor, 16):  # the pipe was closed: the server has ended
                raise DevcloudError(
                    f"{name} of the devcloud in {layout.directory} did not start: {_last_words(layout, name)}",
                    hint=f"See {layout.output(name)} and {layout.log(name)}.",
                )


def _last_words(layout: Layout, name: str) -> str:
    lines = layout.output(name).read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")


def find_servers(directory: Path) -> tuple[ServerProcess, ...]:
    """The running servers of the devcloud in `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (name := _server_name(int(entry.name), directory)):
            found.append(ServerProcess(name, int(entry.name), _memory(int(entry.name))))
    return tuple(sorted(found, key=lambda server: (server.name, server.pid)))


def _server_name(pid: int, directory: Path) -> str | None:
    """Which server of the devcloud process `pid` is; None if it is none or has ended."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if arguments[2:4] != [b"--directory", os.fsencode(directory)]:
        return None
    return next((name for name in SERVERS if arguments[1].endswith(os.fsencode(f"/{_script(name).name}"))), None)


def _memory(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):  # it ended meanwhile
        return 0


def stop_servers(directory: Path, names: Sequence[str] = SERVERS, *, kill: bool = False) -> None:
    """End the servers and wait until they have ended; with `kill` as by kill -9, else by SIGTERM first."""
    with contextlib.ExitStack() as stack:
        handles = {}
        for server in find_servers(directory):
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(server.pid)
                stack.callback(os.close, handle)
                # Asked again, now that the handle says which process the signal will go to, whatever its number does.
                if _server_name(server.pid, directory) == server.name and server.name in names:
                    handles[handle] = server.name
        for handle, name in handles.items():
            _stop(handle, name, kill=kill)


def wait_ended(directory: Path) -> str:
    """Wait until one of the servers ends, and return its name; DevcloudError if none runs."""
    with contextlib.ExitStack() as stack:
        handles = {}
        for server in find_servers(directory):
            try:
                handle = os.pidfd_open(server.pid)
            except ProcessLookupError:
                return server.name
            stack.callback(os.close, handle)
            handles[handle] = server.name
        if not handles:
            raise DevcloudError(f"no server of the devcloud in {directory} is running")
        return handles[select.select(list(handles), [], [])[0][0]]


def wait_all_ended(layout: Layout) -> None:
    """Wait until no server runs any more, nor a program that a killed one had started.

    A process that is ending has no command line to find it by, yet may still have files of the pool open.
    """
    with contextlib.suppress(FileNotFoundError), layout.alive.open("rb") as file:
        end = time.monotonic() + _END_SECONDS
        while not _locks(file):
            if time.monotonic() > end:
                raise DevcloudError(f"something of the devcloud in {layout.directory} still runs")
            time.sleep(0.01)


def _locks(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop(handle: int, name: str, *, kill: bool) -> None:
    for number in (signal.SIGKILL,) if kill else (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        if select.select([handle], [], [], _TERM_SECONDS)[0]:
            return
    raise DevcloudError(f"{name} does not end, not even when killed")


def process_id(pid: int) -> ProcessId | None:
    """The process that has number `pid` now; None if there is none, or only its exit code that nobody has asked for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else ProcessId(pid, int(fields[19]))


def this_process() -> ProcessId:
    this = process_id(os.getpid())
    assert this is not None, "it runs"
    return this
