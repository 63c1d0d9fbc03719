"""What a restore of files did, counted by all of its threads."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from icebrick.engine.file.base import Problem
from icebrick.engine.file.select import TreePath
from icebrick.errors import CorruptDataError, FileSystemError

MAX_REPORTED = 10_000
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class FileRestoreStats:
    """In entries of directories, if not said otherwise."""

    restored: int = 0
    """Made or changed."""
    unchanged: int = 0
    kept: int = 0
    """Left as they were, by the rule for overwriting."""
    removed: int = 0
    """Not counting what was in directories that were removed."""
    written: int = 0
    """Bytes of files."""
    owners_refused: int = 0
    """Those that belong to somebody else now, as only root can give files away."""
    problems: int = 0
    first_problems: list[Problem] = field(default_factory=list)
    """At most 10,000 of them."""


class Tally:
    """The stats while they grow. Methods may be called from any thread."""

    def __init__(self) -> None:
        self.stats = FileRestoreStats()
        self._lock = threading.Lock()  # guards stats

    def entry(self, *, changed: bool, written: int = 0, owner_refused: bool = False) -> None:
        """An entry is as it should be."""
        with self._lock:
            self.stats.restored += changed
            self.stats.unchanged += not changed
            self.stats.written += written
            self.stats.owners_refused += owner_refused

    def kept(self) -> None:
        with self._lock:
            self.stats.kept += 1

    def removed(self) -> None:
        with self._lock:
            self.stats.removed += 1

    def problem(self, path: TreePath | str, why: str) -> None:
        with self._lock:
            self.stats.problems += 1
            if len(self.stats.first_problems) < MAX_REPORTED:
                self.stats.first_problems.append(Problem(path if isinstance(path, str) else shown(path), why))

    @contextmanager
    def noting(self, path: TreePath) -> Iterator[None]:
        """What goes wrong in the block is a problem of the path; FileSystemError when there is no room."""
        try:
            yield
        except (OSError, ValueError, OverflowError, CorruptDataError, FileSystemError) as error:
            raise_if_full(error)
            self.problem(path, reason(error))


def shown(path: TreePath) -> str:
    return "/" + "/".join(path)


def reason(error: Exception) -> str:
    """In a few words, without the path, which is told beside it."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def raise_if_full(error: Exception) -> None:
    """FileSystemError when there is no room: whatever comes next would fail as well."""
    if isinstance(error, OSError) and error.errno in _FULL:
        raise FileSystemError(
            f"no room is left on the target: {error.strerror}", hint="What was restored until then is there."
        ) from error
