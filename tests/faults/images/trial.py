"""Each image is read whole through a real guest, stored, and restored; what became of it is counted."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.images.mutations import Case

from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file.backup import FilesResult, backup_files
from icebrick.engine.file.guesttree import mounted
from icebrick.engine.file.restore import restore_files
from icebrick.errors import FileSystemError, ReaderError
from icebrick.microvm.channel import Patience
from icebrick.microvm.image import Image
from icebrick.microvm.machine import started
from icebrick.repository.blobstore import BlobStore
from icebrick.testing.images import small_repository

DISKS = 26
"""Of one guest: starting one costs more than reading an image."""
PATIENCE = Patience(answer=120, total=1800)
_MOST = 256 << 20
"""Bytes of a file that are restored: some are made to look like terabytes of zeros."""


@dataclass(slots=True)
class Outcome:
    """`ends` counts images by what became of them; `longest` is in seconds of the clock."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    """Those at which the guest ended, and how."""
    escapes: list[str] = field(default_factory=list)
    """Those whose restore made something outside its target. There must be none."""
    longest: tuple[float, str] = (0.0, "")
    guests: int = 0

    def note(self, case: Case, end: str, seconds: float) -> None:
        self.ends[case.base.name, end] += 1
        self.longest = max(self.longest, (seconds, str(case)))


ENDS = ("whole", "in part", "refused", "guest ended")


def try_cases(cases: Sequence[Case], boot: Image) -> Outcome:
    """Read them all, one after the other, with as many guests as that takes."""
    outcome = Outcome()
    waiting = list(cases)
    while waiting:
        batch = waiting[:DISKS]
        done = _try_batch(batch, boot, outcome)
        del waiting[:done]
    return outcome


def _try_batch(batch: Sequence[Case], boot: Image, outcome: Outcome) -> int:
    """How many of them were tried: those after one that ended the guest were not."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        disks = list(_disks(batch, folder, stack))
        repository = small_repository(MemoryBackend())
        results: list[tuple[Case, FilesResult]] = []
        tried = 0
        outcome.guests += 1
        with repository.load_index().writer() as writer:
            channel = stack.enter_context(started(boot, disks, patience=PATIENCE))
            for number, case in enumerate(batch):
                begun = time.monotonic()
                tried += 1
                try:
                    result = backup_files(mounted(channel, case.base.type, number), writer)
                except FileSystemError:
                    end = "refused"
                except ReaderError as error:
                    outcome.lost.append(f"{case}: {error}"[:300])
                    end = "guest ended"
                else:
                    results.append((case, result))
                    end = "in part" if result.problem_count else "whole"
                outcome.note(case, end, time.monotonic() - begun)
                if end == "guest ended":
                    break
        store = repository.load_index()
        for case, result in results:
            if not _stays_inside(result, store, folder / "restored"):
                outcome.escapes.append(str(case))
    return tried


def _disks(batch: Sequence[Case], folder: Path, stack: ExitStack) -> Iterator[int]:
    for number, case in enumerate(batch):
        path = folder / str(number)
        case.store(path)
        disk = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, disk)
        path.unlink()
        yield disk


def _stays_inside(result: FilesResult, store: BlobStore, folder: Path) -> bool:
    """Whether a restore makes nothing but what is below its target, where links lead outside."""
    target = folder / "target"
    (folder / "outside").mkdir(parents=True)
    target.mkdir()
    if result.stats.bytes_total <= _MOST:
        descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            restore_files(result.node, store, descriptor)
        finally:
            os.close(descriptor)
    inside = sorted(folder.iterdir()) == [folder / "outside", target] and not any((folder / "outside").iterdir())
    shutil.rmtree(folder)
    return inside


def describe(outcome: Outcome) -> str:
    """A table, and what else there is to say."""
    names = sorted({name for name, _ in outcome.ends})
    rows = [("", *ENDS), *((name, *(str(outcome.ends[name, end]) for end in ENDS)) for name in names)]
    totals = [sum(outcome.ends[name, end] for name in names) for end in ENDS]
    rows.append((f"all {sum(totals)}", *map(str, totals)))
    lines = [f"{row[0]:20}" + "".join(f"{cell:>13}" for cell in row[1:]) for row in rows]
    lines.append(f"guests started: {outcome.guests}; longest: {outcome.longest[0]:.1f} s, {outcome.longest[1]}")
    lines.append(f"outside of the target after a restore: {len(outcome.escapes)} {' '.join(outcome.escapes)}".rstrip())
    return "\n".join([*lines, *outcome.lost])
