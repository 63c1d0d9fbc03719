"""What connections of this host are using, so that no two of them are given the same: not here, nor in other processes.

Each name is a byte of one file, locked by the kernel (fcntl(2), open file description locks) until it is closed or its
process ends: nothing stays that a killed process would have had to remove.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from icebrick.errors import AttachError

_FLOCK = "hhqqi4x"
"""struct flock: type, whence, start, length, process (0)."""
_PLACES = (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class Claims:
    """Those of all processes that name the same file; it is made when it is needed, and stays."""

    path: Path

    @contextmanager
    def held(self, names: Iterable[str]) -> Iterator[None]:
        """Until the block ends, nobody else gets any of the names. AttachError when somebody has one."""
        descriptor = self._opened()
        try:
            for name in sorted(set(names)):
                if not _locked(descriptor, name):
                    raise AttachError(
                        f"{name} is in use by another connection of this host",
                        hint="Two volumes were given the same device, or another run works on this volume: look into "
                        "the storage's log before trying again.",
                    )
            yield
        finally:
            os.close(descriptor)

    def taken(self, names: Iterable[str]) -> bool:
        """Whether somebody has one of them at this moment."""
        descriptor = self._opened()
        try:
            return not all([_locked(descriptor, name) for name in names])
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AttachError(f"cannot open {self.path}: {error.strerror}") from error


def _locked(descriptor: int, name: str) -> bool:
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") & _PLACES
    lock = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
    except (BlockingIOError, PermissionError):
        return False
    return True
