"""Measure a backup of a folder's files beside stock restic, interleaved: the first run, and one when nothing changed.

python -m bench.files [--folder DIR] [--directory DIR] [--rounds N]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import report
from bench.contenders import PASSWORD
from bench.images import Image
from bench.measure import Cost, run, tree_size

_PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class _Contender:
    name: str
    init: Sequence[str]
    backup: Sequence[str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.files", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/usr"))
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm/icebrick-bench"), help="for repositories")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs of each kind")
    arguments = parser.parse_args()
    name, place = str(arguments.folder), arguments.directory / "work"
    results: dict[tuple[str, str, str], list[Cost]] = defaultdict(list)
    sizes: dict[tuple[str, str], int] = {}
    for number in range(arguments.rounds):
        pair = [_icebrick(arguments.folder), _restic(arguments.folder)]
        for contender in pair if number % 2 else reversed(pair):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            _run(contender.init, place)
            results[name, "first", contender.name].append(_run(contender.backup, place))
            sizes[name, contender.name] = tree_size(place / "repository")
            for _ in range(2):
                results[name, "unchanged", contender.name].append(_run(contender.backup, place))
            shutil.rmtree(place)
    print(report.table([Image(name, arguments.folder, tree_size(arguments.folder))], results, sizes, {}))


def _icebrick(folder: Path) -> _Contender:
    command = (sys.executable, "-m", "bench.folder", "repository", str(folder))
    return _Contender("icebrick", (*command, "init"), command)


def _restic(folder: Path) -> _Contender:
    command = (shutil.which("restic") or "restic", "-q", "-r", "repository")
    return _Contender("restic", (*command, "init"), (*command, "backup", str(folder)))


def _run(command: Sequence[str], place: Path) -> Cost:
    environment = {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": "cache", "PYTHONPATH": str(_PROJECT)}
    return run(command, env=environment, cwd=place)


if __name__ == "__main__":
    main()
