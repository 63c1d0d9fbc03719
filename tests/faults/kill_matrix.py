"""Kill icebrick at every step and inside every driver operation; print what was left, and what after recovery.

First in memory, each kind of backup and each way to restore; then processes, on a real Cinder.

python -m tests.faults.kill_matrix [--lvm] [FLOW...]

With --lvm volumes are LVM's and come over iSCSI, where the kernel can: in a guest of the laboratory. Nothing is killed
in memory then, and only those flows are gone through that do not need what LVM cannot do.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from tests.faults.judging import problems_of_repository
from tests.faults.kills import FLOWS, Flow, Kill, survey, wreck
from tests.faults.scene import Desk, Left, Scene, open_scene
from tests.faults.storm import flows
from tests.faults.victim import run

from icebrick.cli.signals import unwind_on_signals
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.record import Settings
from icebrick.errors import IcebrickError

_FILES = Settings()


@dataclass(frozen=True, slots=True)
class Cell:
    """One kill and what came of it; `complete` is 1 when the killed restore had already finished its volume."""

    flow: str
    place: str
    left: Left
    after: Left
    complete: int
    seconds: float
    problems: tuple[str, ...]


def run_flow(scene: Scene, flow: Flow) -> Iterator[Cell]:
    """Every cell of one flow; at last a look at what outlives the recovery on purpose."""
    for kill in survey(scene, flow):
        yield run_cell(scene, flow, kill)
    yield forget_notes(scene, flow)


def run_cell(scene: Scene, flow: Flow, kill: Kill) -> Cell:
    """Kill once, recover, and look at everything; whatever is wrong is among the problems."""
    started = time.monotonic()
    desk = scene.desk("cell")
    left = after = Left()
    complete: list[str] = []
    problems: list[str] = []
    try:
        wreck(scene, desk, flow)
        kill.strike(scene, desk, flow)
        left = scene.left(desk)
        kill.recover(scene, desk)
        if scene.age_unfinished_files(desk):
            run(scene.command(desk, "cleanup"))
        complete = scene.take_finished(flow.digest)
        loops = scene.left(desk).loops  # now: whoever uses the subject's volume again may remove one
        if flow.subject is not None:
            problems += flow.subject.problems(desk)
        after = replace(scene.left(desk), loops=loops)
        problems += _problems(scene, desk, flow, complete, after)
    except (AssertionError, IcebrickError) as error:
        problems.append(str(error))
    scene.sweep()
    if flow.subject is not None:
        flow.subject.reset()
    shutil.rmtree(desk.folder)
    seconds = time.monotonic() - started
    return Cell(flow.name, str(kill), left, after, len(complete), seconds, tuple(problems))


def forget_notes(scene: Scene, flow: Flow) -> Cell:
    """The notes of all the killed runs are gone after two cleanups, of which one is an hour later."""
    started = time.monotonic()
    left = Left(notes=len(scene.notes()))
    desk = scene.desk(f"{flow.name} later")
    run(scene.command(desk, "cleanup"))
    scene.age_notes()
    run(scene.command(desk, "cleanup"))
    after = Left(notes=len(scene.notes()))
    problems = (f"notes of dead runs stay: {scene.notes()}",) if after.notes else ()
    return Cell(flow.name, "an hour later", left, after, 0, time.monotonic() - started, problems)


def _problems(scene: Scene, desk: Desk, flow: Flow, complete: list[str], after: Left) -> Iterator[str]:
    if not after.is_clear:
        yield f"left after recovery: {after}"
    if complete not in ([], [flow.result]):
        yield f"{len(complete)} volumes pass for complete and are not"
    yield from scene.problems_of_the_volume_in_use()
    yield from problems_of_repository(scene, desk)


ON_LVM = ("backup", "cleanup", "restore to a copy", "restore anew", "restore in place", "cold backup")
_COUNTS = [one.name for one in fields(Left)]


def heading() -> str:
    columns = "  ".join(f"{name:>11}" for name in _COUNTS)
    return f"{'flow':26} {'killed':46}  {columns}  {'complete':>8} {'seconds':>7}"


def row(cell: Cell) -> str:
    """Each count as what was left and what is there after recovery."""
    pairs = zip(astuple(cell.left), astuple(cell.after), strict=True)
    columns = "  ".join(f"{f'{left} -> {after}':>11}" for left, after in pairs)
    problems = "".join(f"\n    PROBLEM {problem}" for problem in cell.problems)
    return f"{cell.flow:26} {cell.place:46}  {columns}  {cell.complete:>8} {cell.seconds:>7.1f}{problems}"


def summary(cells: Sequence[Cell]) -> str:
    bad = sum(bool(cell.problems) for cell in cells)
    left = sum(not cell.left.is_clear for cell in cells)
    seconds = sum(cell.seconds for cell in cells)
    return f"{len(cells)} rows in {seconds:.0f} s, {left} of them left something, {bad} with problems"


@contextmanager
def own_scene(settings: Settings = _FILES) -> Iterator[Scene]:
    """A devcloud of its own; nothing of it stays."""
    folder = Path(tempfile.mkdtemp(prefix="icebrick-kills-", dir="/var/tmp"))
    environment = os.environ.get("ICEBRICK_DEVCLOUD_VENV")
    devcloud = Devcloud(folder / "cloud", environment=Path(environment) if environment else None)
    try:
        devcloud.up(settings, owned=True)
        with open_scene(devcloud, folder) as scene:
            yield scene
    finally:
        devcloud.down()
        shutil.rmtree(folder)


def print_deaths() -> int:
    """What came of each in memory; how many there were with problems."""
    bad = total = 0
    with tempfile.TemporaryDirectory(prefix="icebrick-deaths-") as folder:
        before = flows.template(Path(folder))
        for flow in flows.FLOWS:
            for cell in flows.kill_everywhere(before, flow):
                print(cell, flush=True)
                total += 1
                bad += bool(cell.problems)
    print(f"{total} deaths in memory, {bad} with problems\n")
    return bad


def main(arguments: Sequence[str]) -> int:
    on_lvm = "--lvm" in arguments
    wanted = [argument for argument in arguments if argument != "--lvm"]
    unknown = sorted(set(wanted) - FLOWS.keys())
    if unknown:
        print(f"no flow {unknown[0]}, but {', '.join(FLOWS)}")
        return 2
    chosen = wanted or (ON_LVM if on_lvm else FLOWS)
    settings = Settings(storage="lvm" if on_lvm else _FILES.storage, compute="cold backup" in chosen)
    cells: list[Cell] = []
    bad = 0 if wanted or on_lvm else print_deaths()
    with unwind_on_signals(), own_scene(settings) as scene:
        print(heading())
        for name in chosen:
            for cell in run_flow(scene, FLOWS[name](scene)):
                print(row(cell), flush=True)
                cells.append(cell)
    print(summary(cells))
    return int(bool(bad) or not cells or any(cell.problems for cell in cells))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
