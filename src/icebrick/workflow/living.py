"""Which runs of this host live. Each holds a locked file for its life; the kernel lets go of it however it dies.

    <state dir>/runs/<run id>     JSON about the run, locked while it lives
    <state dir>/runs.lock         held while a file is made or examined, so that none is seen before it is locked

A file stays behind when a run was killed, or ended without being able to remove what it had made in the cloud.
A run without a file is *unknown*, never dead: it may be another host's, or one with another state directory.

What a run asked of Cinder just before it was killed may appear only after the next run has looked. So a dead run
is forgotten when it has left nothing twice, with some time between.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from icebrick.errors import IcebrickError
from icebrick.run import Run

GRACE = timedelta(minutes=10)
"""Longer than Cinder works on a request before it shows what it makes."""

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


class Life(Enum):
    """What this host knows of a run."""

    LIVING = "living"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A run that ended without clearing up. `scope` is the id of the project it worked in, empty for none."""

    run: Run
    scope: str


@dataclass(slots=True)
class Living:
    """A run's hold on life; set `cleared` to False to leave its file behind as that of a dead run."""

    run: Run
    cleared: bool = True


class RunRegistry:
    """The runs of one state directory."""

    def __init__(self, state_dir: Path, host: str) -> None:
        self._directory = state_dir / "runs"
        self._lock_file = state_dir / "runs.lock"
        self._host = host

    @contextmanager
    def living(self, run: Run, *, scope: str) -> Iterator[Living]:
        """The run lives until the block ends, in whatever way; IcebrickError when the directory is unusable."""
        living = Living(run)
        path = self._directory / run.id
        descriptor = self._register(path, run, scope)
        try:
            yield living
        except BaseException:
            # What the run undid on its way here is not known for sure; the next sweep looks, and forgets it.
            living.cleared = False
            raise
        finally:
            if living.cleared:
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def life(self, run_id: str, host: str) -> Life:
        """`run_id` may come from anywhere; what is not one of this host's runs is UNKNOWN."""
        if host != self._host or not _RUN_ID.fullmatch(run_id):
            return Life.UNKNOWN
        with self._locked():
            return self._life(self._directory / run_id)

    def dead_runs(self) -> list[DeadRun]:
        """All runs of this host that ended without clearing up, oldest first."""
        with self._locked():
            files = [path for path in sorted(self._directory.iterdir()) if _RUN_ID.fullmatch(path.name)]
            return [
                DeadRun(Run(path.name, self._host), _scope(path)) for path in files if self._life(path) is Life.DEAD
            ]

    def note_cleared(self, run_id: str, now: datetime) -> None:
        """Nothing of a dead run was found. The second time, at least GRACE after the first, it is forgotten."""
        if not _RUN_ID.fullmatch(run_id):
            return
        path = self._directory / run_id
        with self._locked():
            if self._life(path) is not Life.DEAD:
                return
            first = _cleared(path)
            if first is None:
                path.write_text(json.dumps({"scope": _scope(path), "cleared": now.isoformat()}) + "\n", "utf-8")
            elif now - first >= GRACE:
                path.unlink(missing_ok=True)

    def _register(self, path: Path, run: Run, scope: str) -> int:
        text = json.dumps({"run": run.id, "host": run.host, "pid": os.getpid(), "scope": scope})
        with self._locked():
            descriptor = _open(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, text.encode() + b"\n")
        return descriptor

    def _life(self, path: Path) -> Life:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return Life.UNKNOWN
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Life.LIVING
        finally:
            os.close(descriptor)
        return Life.DEAD

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _open(self._lock_file)
        except OSError as error:
            raise IcebrickError(
                f"cannot use state directory {self._directory.parent}: {error.strerror}",
                hint="Name another one with ICEBRICK_STATE_DIR or 'state-dir' in [agent].",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _scope(path: Path) -> str:
    """Where a run worked; a file that was cut short by a crash of the host names no project."""
    scope = _note(path).get("scope")
    return scope if isinstance(scope, str) else ""


def _cleared(path: Path) -> datetime | None:
    text = _note(path).get("cleared")
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def _note(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError):
        return {}
    return content if isinstance(content, dict) else {}
