"""Measure how fast an image goes to each kind of storage and comes back, beside stock restic on the same server.

python -m bench.media [--media NAME[,NAME...]] [--directory DIR] [--rounds N] [--data MIB] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import PASSWORD
from bench.measure import Cost, middle, run
from icebrick.backend.location import Location
from icebrick.testing.servers import rclone, seaweedfs, sshd, swift, vsftpd
from icebrick.testing.servers.rclone_ftp import through_rclone
from icebrick.testing.servers.server import Place, StorageServer, running

MIB = 1 << 20
_HEAD = ("medium", "operation", "contender", "runs", "wall s", "MiB/s", "CPU s/GiB", "peak MiB", "throughput x")

Results = dict[tuple[str, str, str], list[Cost]]
"""By medium, operation and contender."""


@contextmanager
def _no_server(folder: Path) -> Iterator[StorageServer]:
    """A local disk."""
    folder.mkdir(parents=True)
    with running([], folder, lambda name: Place(Location("local", str(folder / name)), folder=folder / name)) as server:
        yield server


@contextmanager
def _swift(folder: Path) -> Iterator[StorageServer]:
    with swift.serving(folder) as both:
        yield both.swift


MEDIA: dict[str, Callable[[Path], AbstractContextManager[StorageServer]]] = {
    "local": _no_server,
    "sftp": sshd.serving,
    "ftp": vsftpd.serving,
    "rest": rclone.serving_rest,
    "rclone": rclone.serving_folder,
    "s3": seaweedfs.serving,
    "swift": _swift,
}


@dataclass(frozen=True, slots=True)
class _Commands:
    """How a contender is told; the image is `volume.img`, and comes back as `restored`."""

    name: str
    init: Sequence[str]
    backup: Sequence[str]
    restore: Sequence[str]
    restored: str
    env: dict[str, str]


def main() -> None:
    arguments = _arguments()
    results: Results = defaultdict(list)
    home = arguments.directory
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    home.chmod(0o711)  # the FTP server's user must be able to pass through
    try:
        _make_image(home / "volume.img", arguments.data * MIB)
        for medium in arguments.media:
            _measure(medium, home, arguments.rounds, results)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        print(_table(results, arguments.data))
    if arguments.json:
        arguments.json.write_text(json.dumps(_as_json(results, arguments.data), indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = media_parser("bench.media", __doc__, data_mib=1024)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs of each kind")
    return parsed(parser)


def media_parser(name: str, description: str | None, *, data_mib: int) -> argparse.ArgumentParser:
    """For what sends incompressible data to servers."""
    parser = argparse.ArgumentParser(prog=name, description=(description or "").partition("\n")[0])
    parser.add_argument("--media", type=lambda text: text.split(","), default=list(MEDIA), help="some of them")
    parser.add_argument("--data", type=int, default=data_mib, help="MiB of incompressible data")
    home = Path("build") / name.replace(".", "-")
    parser.add_argument("--directory", type=Path, default=home, help="for servers and what they store")
    parser.add_argument("--json", type=Path, help="write every single figure to this file")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command's arguments; it ends with 2 where they are wrong."""
    arguments = parser.parse_args()
    if unknown := set(arguments.media) - set(MEDIA):
        parser.error(f"no such medium: {', '.join(sorted(unknown))}")
    if os.geteuid():
        parser.error("the FTP server needs root")
    arguments.directory = arguments.directory.resolve()
    return arguments


def _make_image(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))


def _measure(medium: str, home: Path, rounds: int, results: Results) -> None:
    with MEDIA[medium](home / medium) as server:
        for number in range(rounds):
            pair = [_icebrick, _restic]
            for contender in pair if number % 2 else reversed(pair):
                place = server.place(f"{contender.__name__.strip('_')}-{number}")
                _measure_one(medium, contender(place, home), home, results)
                if place.folder is not None:  # the others keep it until the server goes
                    shutil.rmtree(place.folder)
            print(f"{medium}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    shutil.rmtree(home / medium)


def _measure_one(medium: str, commands: _Commands, home: Path, results: Results) -> None:
    out = home / "out"
    out.mkdir()
    run(commands.init, env=commands.env, cwd=home)
    _settle()
    results[medium, "backup", commands.name].append(run(commands.backup, env=commands.env, cwd=home))
    _settle()
    results[medium, "restore", commands.name].append(run(commands.restore, env=commands.env, cwd=home))
    subprocess.run(["cmp", commands.restored, "volume.img"], cwd=home, check=True)
    shutil.rmtree(out)
    shutil.rmtree(home / "cache", ignore_errors=True)


def _settle() -> None:
    """What one run has written shall not be the next one's to wait for."""
    os.sync()


def _icebrick(place: Place, home: Path) -> _Commands:
    program = str(Path(sys.executable).with_name("icebrick"))
    options = [text for name, value in place.options.values.items() for text in ("-o", f"{name}={value}")]
    command = (program, "-q", "-r", place.text, "--cache-dir", str(home / "cache"), *options)
    return _Commands(
        "icebrick",
        (*command, "init"),
        (*command, "backup", "--image", "volume.img", "--name", "volume"),
        (*command, "restore", "--image-name", "volume", "--target", "out/icebrick.img"),
        "out/icebrick.img",
        {"RESTIC_PASSWORD": PASSWORD, **place.options.environment},
    )


def _restic(place: Place, home: Path) -> _Commands:
    is_ftp = place.location.scheme == "ftp"  # which it reaches through rclone only
    place = through_rclone(place) if is_ftp else place
    stock = place.restic(shutil.which("restic") or "restic", PASSWORD)
    command = (stock.program, "-q", "-r", place.text, "--cache-dir", str(home / "cache"), *stock.options)
    return _Commands(
        "restic+rclone" if is_ftp else "restic",
        (*command, "init"),
        (*command, "backup", "volume.img"),
        (*command, "restore", "latest", "--target", "out/restic"),
        "out/restic/volume.img",
        {"RESTIC_PASSWORD": PASSWORD, **place.options.environment},
    )


def _table(results: Results, data: int) -> str:
    """Medians; the last column is Icebrick's throughput divided by the contender's."""
    rows = [_HEAD]
    for (medium, operation, contender), costs in results.items():
        cost, ours = middle(costs), middle(results[medium, operation, "icebrick"])
        relation = "" if contender == "icebrick" else f"{cost.wall / ours.wall:.2f}"
        figures = (f"{cost.wall:.2f}", f"{data / cost.wall:.0f}", f"{cost.cpu / data * 1024:.2f}", f"{cost.rss:.0f}")
        rows.append((medium, operation, contender, str(len(costs)), *figures, relation))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _as_json(results: Results, data: int) -> object:
    runs = [
        {"medium": medium, "operation": operation, "contender": name, "costs": [cost.as_dict() for cost in costs]}
        for (medium, operation, name), costs in results.items()
    ]
    machine = {"python": platform.python_version(), "kernel": platform.release(), "arch": platform.machine()}
    return {"machine": machine, "data_mib": data, "runs": runs}


if __name__ == "__main__":
    main()
