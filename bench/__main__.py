"""Measure Icebrick beside stock restic, interleaved, and print a table; `--json FILE` keeps every single figure.

python -m bench [--directory DIR] [--rounds N] [--data MIB] [--json FILE]
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import images, report
from bench.contenders import Contender, icebrick, restic, tar
from bench.measure import Cost, run, tree_size

Results = dict[tuple[str, str, str], list[Cost]]
"""By image, operation and contender."""


def main() -> None:
    arguments = _arguments()
    _compile()
    home, large = arguments.directory, arguments.large_directory
    made = images.build(home / "images", large / "images", arguments.data * images.MIB)
    results: Results = defaultdict(list)
    sizes: dict[tuple[str, str], int] = {}
    for image in made:
        for number in range(arguments.rounds):
            pair = [icebrick(), restic()]
            for contender in pair if number % 2 else reversed(pair):
                _measure(contender, image, image.first.parent.parent, results, sizes)
            _note(image.name, number + 1, arguments.rounds)
        results[image.name, "full", "roof"] = [_roof(image) for _ in range(arguments.rounds)]
    without_second = replace(made[0], second=None)  # tar compresses everything again, every time
    _measure(tar(), without_second, home, results, sizes)
    memory = {size: _memory(large, size) for size in (4, 200)}
    print(report.table(made, results, sizes, memory))
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(made, results, sizes, memory), indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--directory", type=Path, default=_roomy(), help="where images and repositories go")
    parser.add_argument("--large-directory", type=Path, default=Path("build/bench"), help="the same for large images")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs of each kind")
    parser.add_argument("--data", type=int, default=1536, help="MiB of real files in the first image")
    parser.add_argument("--json", type=Path, help="write every single figure to this file")
    arguments = parser.parse_args()
    if os.geteuid():
        parser.error("building the images needs root, to mount one of them")
    arguments.directory = arguments.directory.resolve()
    arguments.large_directory = arguments.large_directory.resolve()
    return arguments


def _compile() -> None:
    """As installing does, so that the first run of a command costs what every other does."""
    compileall.compile_dir(Path(__file__).resolve().parent.parent / "src", quiet=1)


def _roomy() -> Path:
    memory = Path("/dev/shm")
    enough = memory.is_dir() and shutil.disk_usage(memory).free > 12 * images.GIB
    return memory / "icebrick-bench" if enough else Path("build/bench")


def _note(name: str, number: int, of: int) -> None:
    print(f"{name}: round {number} of {of}", file=sys.stderr, flush=True)


@contextmanager
def _workplace(home: Path) -> Iterator[Path]:
    place = home / "work"
    shutil.rmtree(place, ignore_errors=True)
    for folder in ("out", "repo-tar"):
        (place / folder).mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place)


def _measure(
    contender: Contender, image: images.Image, home: Path, results: Results, sizes: dict[tuple[str, str], int]
) -> None:
    """One full backup, an incremental one where there is a second version, and a restore that is compared."""
    with _workplace(home) as place:
        _provide(image.first, place)
        if contender.init:
            run(contender.init, env=contender.env, cwd=place)
        results[image.name, "full", contender.name].append(run(contender.backup, env=contender.env, cwd=place))
        repository = place / f"repo-{contender.name.split('|')[0]}"
        sizes[image.name, contender.name] = tree_size(repository)
        if image.second:
            _provide(image.second, place)
            cost = run(contender.backup, env=contender.env, cwd=place)
            results[image.name, "incremental", contender.name].append(cost)
            sizes[image.name + " +1", contender.name] = tree_size(repository)
        results[image.name, "restore", contender.name].append(run(contender.restore, env=contender.env, cwd=place))
        run(("cmp", contender.restored, "volume.img"), env={}, cwd=place)


def _provide(image: Path, place: Path) -> None:
    (place / "volume.img").unlink(missing_ok=True)
    os.link(image, place / "volume.img")


def _roof(image: images.Image) -> Cost:
    return run((sys.executable, "-m", "bench.roof", str(image.first)), env={}, cwd=Path.cwd())


def _memory(home: Path, size: int) -> Cost:
    image = images.sparse(home / "images", size * images.GIB, 256 * images.MIB)
    contender = icebrick()
    with _workplace(home) as place:
        _provide(image.first, place)
        run(contender.init or (), env=contender.env, cwd=place)
        return run(contender.backup, env=contender.env, cwd=place)


if __name__ == "__main__":
    main()
