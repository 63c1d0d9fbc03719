"""Runs one command and tells what it cost."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command with all its children: seconds, and the peak resident memory of the largest process in MiB."""

    wall: float
    cpu: float
    rss: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Cost:
    """Run a command that must succeed; what it says is shown when it fails."""
    environment = {**_as_installed(os.environ), **env}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said.read()[-2000:].decode()}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _as_installed(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what would make each run compile the modules anew, which nobody does who has installed a program."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


def middle(costs: Iterable[Cost]) -> Cost:
    """The median of each figure; of memory the largest."""
    seen = list(costs)
    return Cost(median(c.wall for c in seen), median(c.cpu for c in seen), max(c.rss for c in seen))


def tree_size(path: Path) -> int:
    """Of all regular files below, in bytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
