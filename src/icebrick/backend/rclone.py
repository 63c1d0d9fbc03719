"""Whatever rclone reaches: a child process that speaks restic's REST protocol on loopback, with a one-time password.

    rclone:remote:path

The child is started at the first call, again when it has died, and ends with this process, however that ends.
Decision record: docs/design/decisions/0010-storage-libraries.md.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.http.client import CONNECTIONS, HttpSettings
from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions, connections_of
from icebrick.backend.rest import RestBackend
from icebrick.blockdev import Data
from icebrick.errors import BackendError, BackendUnavailableError, UsageError

log = logging.getLogger(__name__)

OPTIONS = ("args", "connections", "program")
START_SECONDS = 60.0
_END_SECONDS = 5.0
_DEATH_SECONDS = 0.5  # from closed connections to the end of a dying process
# rclone answers a save when the storage behind it has: over a slow line, and with a big pack, that takes its time.
_ANSWER_SECONDS = 600.0
_ARGUMENTS = "serve restic"
_STDIO = "--stdio"  # of restic's own default arguments: the same over its standard input and output
_USER = "icebrick"
_TETHERED = Path(__file__).with_name("tethered.py")
_LAST_LINES = 4
_TIME = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")
# The values in remote,key=value,key="other value":path
_PARAMETER = re.compile(r""",[\w-]+=("(?:[^"]|"")*"|'(?:[^']|'')*'|[^,:]*)""")
_SERVING = re.compile(r"on (http://127\.0\.0\.1:\d+/)")
# What the child has no business with, and what would keep its address from us.
_WITHHELD = re.compile(
    r"RESTIC_|RCLONE_(LOG_|USE_JSON_LOG|QUIET|VERBOSE|SYSLOG|USER$|PASS$|ADDR$|HTPASSWD|BASEURL|CERT$)"
)


def open_rclone(location: Location, options: BackendOptions) -> RcloneBackend:
    """Of rclone:remote:path. UsageError when there is no rclone."""
    values = options.of("rclone", OPTIONS)
    if ":" not in location.address:
        raise UsageError(f"the repository location {location} names no remote", hint="Write rclone:REMOTE:PATH.")
    program = values.get("program", "rclone")
    found = shutil.which(program, path=options.environment.get("PATH"))
    if found is None:
        hint = "Install rclone, or name the program with -o rclone.program=PATH."
        raise UsageError(f"there is no program {program} for {location}", hint=hint)
    try:
        arguments = [each for each in shlex.split(values.get("args", _ARGUMENTS)) if each != _STDIO]
    except ValueError as error:
        raise UsageError(f"rclone.args cannot be split into arguments: {error}") from error
    command = [found, *arguments, "--addr", "127.0.0.1:0", "--", location.address]
    environment = {name: value for name, value in options.environment.items() if not _WITHHELD.match(name)}
    connections = connections_of(values, CONNECTIONS)
    return RcloneBackend(command, environment, location=str(location), connections=connections)


class RcloneBackend(Backend):
    """What the child serves that `command` starts."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], *, location: str, connections: int = CONNECTIONS
    ) -> None:
        self.location = location
        self.connections = connections
        self._command = command
        self._environment = environment
        self._running: tuple[_Child, RestBackend] | None = None
        self._lock = threading.Lock()  # guards _running, and lets all wait for the one that starts it

    def create(self) -> None:
        with self._served() as rest:
            rest.create()

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        with self._served() as rest:
            return rest.load(handle, offset=offset, length=length)

    def stat(self, handle: Handle) -> FileInfo:
        with self._served() as rest:
            return rest.stat(handle)

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        with self._served() as rest:
            yield from rest.list_files(file_type)

    def save(self, handle: Handle, data: Data) -> None:
        with self._served() as rest:
            rest.save(handle, data)

    def remove(self, handle: Handle) -> None:
        with self._served() as rest:
            rest.remove(handle)

    def discard(self) -> bool:
        """Folders, where the medium has such; rclone removes them only if they are empty."""
        command = [self._command[0], "rmdirs", "--", self._command[-1]]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=START_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 or b"directory not found" in done.stderr

    def close(self) -> None:
        with self._lock:
            self._end()

    @contextmanager
    def _served(self) -> Iterator[RestBackend]:
        """Errors tell why the child died, when that is behind them; the next call starts another."""
        child, rest = self._child()
        try:
            yield rest
        except BackendUnavailableError as error:
            if child.ended(within=_DEATH_SECONDS):
                raise BackendUnavailableError(f"rclone for {self.location} ended: {child.last_words()}") from error
            raise

    def _child(self) -> tuple[_Child, RestBackend]:
        with self._lock:
            if self._running is None or self._running[0].ended():
                self._end()
                self._running = self._start()
            return self._running

    def _start(self) -> tuple[_Child, RestBackend]:
        password = secrets.token_urlsafe(32)
        login = {"RCLONE_USER": _USER, "RCLONE_PASS": password}
        child = _Child(self._command, {**self._environment, **login})
        url = child.address(START_SECONDS)
        if url is None:
            child.end()
            raise BackendError(
                f"rclone cannot serve {self.location}: {child.last_words()}",
                hint="Try 'rclone lsd' on the same remote; rclone.args may only add to 'serve restic'.",
            )
        log.debug("rclone serves location=%s url=%s", self.location, url)
        settings = HttpSettings(None, None, {}, self.connections, answer_seconds=_ANSWER_SECONDS)
        return child, RestBackend(url, (_USER, password), settings, self.location)

    def _end(self) -> None:
        if self._running is not None:
            child, rest = self._running
            self._running = None
            rest.close()
            child.end()


class _Child:
    """A running rclone, and what it says.

    A thread starts it, reads its log to the end and waits for it. That must be the same thread: the kernel ends the
    child when the thread that started it ends, so it may not be one of a run's workers.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._command = [sys.executable, "-I", "-S", str(_TETHERED), str(os.getpid()), *command]
        self._environment = environment
        self._secrets = [value.strip("\"'") for value in _PARAMETER.findall(command[-1])]
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._started = threading.Event()  # or could not be
        self._known = threading.Event()  # it serves, or has ended
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="rclone", daemon=True)
        self._thread.start()
        self._started.wait()

    def address(self, seconds: float) -> str | None:
        """The URL it serves at; None when it ended before, or did not begin in time."""
        self._known.wait(seconds)
        return None if self.ended() else self._url

    def ended(self, within: float = 0.0) -> bool:
        """Whether it has ended, or does within so many seconds."""
        return self._ended.wait(within) or (self._process is not None and self._process.poll() is not None)

    def last_words(self) -> str:
        """What it said last."""
        self._ended.wait(1.0)
        return "; ".join(self._lines) or "it said nothing"

    def end(self) -> None:
        """Ends it, and waits until it has ended."""
        if self._process is not None:
            self._process.terminate()
            if not self._ended.wait(_END_SECONDS):
                self._process.kill()
        self._thread.join()

    def _live(self) -> None:
        try:
            with subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=self._environment,
                process_group=0,  # Ctrl-C is for us: it would take the storage away before we have cleared up
            ) as process:
                self._process = process
                self._started.set()
                self._read(process)
        except OSError as error:
            self._lines.append(f"it cannot be started: {error.strerror}")
        finally:
            for event in (self._ended, self._known, self._started):
                event.set()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for raw in process.stderr:
            line = self._cleaned(raw)
            log.debug("rclone says: %s", line)
            self._lines.append(line)
            found = _SERVING.search(raw.decode("utf-8", "replace"))  # a parameter may be the host's name: cleaned away
            if found and not self._known.is_set():
                self._url = found[1]
                self._known.set()

    def _cleaned(self, raw: bytes) -> str:
        """Without its time, what could steer a terminal, and the secrets that can be in a remote's parameters."""
        line = "".join(each for each in raw.decode("utf-8", "replace").strip() if each.isprintable())
        for secret in filter(None, self._secrets):
            line = line.replace(secret, "***")
        return _TIME.sub("", line)
