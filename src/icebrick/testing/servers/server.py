"""A storage server, and the places for repositories on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.testing.restic import Restic
from icebrick.testing.servers.processes import Process, Program, reserve_port


@dataclass(frozen=True, slots=True)
class Place:
    """Where one repository goes, and what an operator tells Icebrick or restic to get there."""

    location: Location
    options: BackendOptions = field(default_factory=BackendOptions)
    folder: Path | None = None
    """Where the server keeps the repository's files, as a local repository; None if it has a form of its own."""
    restic_arguments: tuple[str, ...] = ()
    """What restic needs besides the location, the environment and the certificates."""

    @property
    def text(self) -> str:
        """The location with its secrets, for a command line. restic and Icebrick write it alike."""
        return f"{self.location.scheme}:{self.location.address}"

    @property
    def arguments(self) -> tuple[str, ...]:
        """What Icebrick's command needs besides the location and the environment."""
        options = [text for name, value in self.options.values.items() for text in ("-o", f"{name}={value}")]
        return (*options, *self._trusted)

    def restic(self, program: str, password: str) -> Restic:
        """Stock restic, going through the server; it knows no FTP, and is sent to the folder instead."""
        if self.location.scheme in ("ftp", "ftps"):
            assert self.folder is not None
            return Restic(program, self.folder, password)
        return Restic(program, self.text, password, (*self.restic_arguments, *self._trusted), self.options.environment)

    @property
    def _trusted(self) -> tuple[str, ...]:
        return () if self.options.ca_file is None else ("--cacert", str(self.options.ca_file))


class StorageServer:
    """One or more processes that serve as one; clients talk to the first. For one thread at a time, any thread."""

    def __init__(self, processes: Sequence[Process], place: Callable[[str], Place]) -> None:
        self._processes = processes
        self._place = place

    @property
    def port(self) -> int:
        return self._processes[0].port

    def speaking(self, place: Callable[[str], Place]) -> StorageServer:
        """The same processes, by another protocol."""
        return StorageServer(self._processes, place)

    def place(self, name: str) -> Place:
        """An empty place for a repository, another one for each name. A name is letters, digits and dashes."""
        return self._place(name)

    def kill(self) -> None:
        """End it at once, as by kill -9, and return when it is gone. What was stored stays."""
        self._end(Process.kill)

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(Process.ask_to_end)

    def _end(self, how: Callable[[Process], None]) -> None:
        for process in self._processes:
            how(process)
        for process in self._processes:
            process.wait_ended()

    def restart(self) -> None:
        """Start what does not run, on the same ports, and return when it serves."""
        started = [process for process in self._processes if not process.runs]
        for process in started:
            process.start()
        for process in started:
            process.wait_ready()


@contextmanager
def running(programs: Sequence[Program], folder: Path, place: Callable[[str], Place]) -> Iterator[StorageServer]:
    """The programs serve in the block, and are gone after it. `folder` gets their logs."""
    server = StorageServer([Process(program, folder) for program in programs], place)
    try:
        server.restart()
        yield server
    finally:
        server.kill()


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Ports that are ours in the block, whether something listens there or not."""
    with ExitStack() as stack:
        yield [stack.enter_context(reserve_port()).getsockname()[1] for _ in range(count)]
