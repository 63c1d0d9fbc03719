"""Which decrypted devices of this host are ours, and whether whoever opened them still lives.

Each has a link and a lock in one directory, named like the device it lies on. The kernel lets a lock go with its
process: what has a link that nobody locks is what a killed process has left.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from icebrick.errors import AttachError

_LOG = logging.getLogger(__name__)

_PREFIX = "icebrick-"
_LOCK = ".lock"
_MAPPED = "crypt-{}"
"""What os-brick calls the mapping of a link."""
_STARTING_SECONDS = 120.0
"""How long a cryptsetup that outlives the process which started it may go on; it has its passphrase, or never will."""


@dataclass(frozen=True, slots=True)
class Mappings:
    """Those noted in `directory`, which is made when it is needed."""

    directory: Path

    @contextmanager
    def claimed(self, device: str) -> Iterator[Path]:
        """A link to a block device, that os-brick may turn to the decrypted one; alone, until the block ends."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        link = self.directory / f"{_PREFIX}{os.path.basename(device)}"
        with _locked(link) as locked:
            if not locked:
                raise AttachError(f"device {device} is being decrypted by another process of this host")
            link.unlink(missing_ok=True)
            link.symlink_to(device)
            yield link
            link.unlink(missing_ok=True)  # last, and not by an error: what has a link may have a mapping

    def close_dead(self, close: Callable[[str], None]) -> None:
        """Call `close` with the name of each mapping that a dead process may have left.

        One that cannot be closed stays noted; its AttachError is raised when the others are done.
        """
        problems: list[AttachError] = []
        for link in sorted(self.directory.glob(f"{_PREFIX}*")):
            if link.suffix == _LOCK:
                continue
            with _locked(link) as locked:
                if locked and link.is_symlink():
                    try:
                        _close(link, close)
                    except AttachError as error:
                        problems.append(error)
        if problems:
            raise problems[0]


@contextmanager
def _locked(link: Path) -> Iterator[bool]:
    """Whether nobody else has it. The lock's file stays: who removes it may remove another's lock."""
    descriptor = os.open(f"{link}{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _close(link: Path, close: Callable[[str], None]) -> None:
    mapping = _MAPPED.format(link.name)
    _LOG.info("closing what a dead process has left mapping=%s", mapping)
    _wait_started(mapping)
    close(mapping)
    link.unlink()


def _wait_started(mapping: str) -> None:
    """Until no program is at work any more that may still make it."""
    end = time.monotonic() + _STARTING_SECONDS
    while _is_named(mapping) and time.monotonic() < end:
        time.sleep(0.1)


def _is_named(mapping: str) -> bool:
    """In the arguments of any process."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if arguments[0].endswith(b"cryptsetup") and os.fsencode(mapping) in arguments:
                return True
    return False
