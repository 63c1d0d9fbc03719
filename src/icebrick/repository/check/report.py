"""What a check found."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from icebrick.errors import CorruptDataError, FileMissingError, ShortReadError

log = logging.getLogger(__name__)

MAX_PROBLEMS = 1000
"""So many are told one by one; one lost index file can be the cause of a million."""

DAMAGE = (CorruptDataError, FileMissingError, ShortReadError)
"""What says that stored data is not as it was; other errors of a backend end a check, for they say nothing of it."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Problems are damage or loss; hints are waste that a prune or a new index ends. `bytes_read` is of packs."""

    problems: tuple[str, ...]
    hints: tuple[str, ...]
    snapshots: int
    index_files: int
    packs: int
    trees: int
    bytes_read: int
    packs_read: int = 0


class Findings:
    """Gathers what is found, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the lists and the number
        self._problems: list[str] = []
        self._untold = 0
        self._hints: list[str] = []

    def problem(self, message: str) -> None:
        """Whoever asked for the check tells of it; the log is for those who want to see it come."""
        log.info("problem=%s", message)
        with self._lock:
            if len(self._problems) < MAX_PROBLEMS:
                self._problems.append(message)
            else:
                self._untold += 1

    def hint(self, message: str) -> None:
        with self._lock:
            self._hints.append(message)

    @property
    def problems(self) -> tuple[str, ...]:
        more = [f"and {self._untold} more problems"] if self._untold else []
        return (*self._problems, *more)

    @property
    def hints(self) -> tuple[str, ...]:
        return tuple(self._hints)
