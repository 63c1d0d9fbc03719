"""Measure how fast files of a size are saved in each kind of storage, and what of this machine that takes.

python -m bench.uploads [--media NAME[,NAME...]] [--directory DIR] [--data MIB] [--json FILE]

A server that gets all that this machine can give keeps its processors busy, server and client together. What two
processes can send each other over loopback, with nothing done to it, is printed first.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.media import MEDIA, media_parser, parsed
from icebrick.backend.base import Backend, FileType, Handle
from icebrick.backend.media import open_backend

MIB = 1 << 20
SIZES_MIB = (1, 4, 16, 64)
_HEAD = ("medium", "MiB a file", "MiB/s", "files/s", "processors busy", "of them this client")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Upload:
    """One size on one medium: seconds of the clock, of the client's processor time and of all processors' time."""

    medium: str
    size_mib: int
    count: int
    wall: float
    client: float
    machine: float

    @property
    def row(self) -> tuple[str, ...]:
        rate, files = self.count * self.size_mib / self.wall, self.count / self.wall
        busy = (f"{self.machine / self.wall:.2f}", f"{self.client / self.wall:.2f}")
        return (self.medium, str(self.size_mib), f"{rate:.0f}", f"{files:.0f}", *busy)


def main() -> None:
    arguments = parsed(media_parser("bench.uploads", __doc__, data_mib=512))
    home = arguments.directory
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    home.chmod(0o711)  # the FTP server's user must be able to pass through
    print(f"loopback alone: {_loopback(arguments.data):.0f} MiB/s")
    uploads: list[Upload] = []
    try:
        for medium in arguments.media:
            uploads += _measure(medium, home, arguments.data)
            print(f"{medium}: measured", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        print(_table(uploads))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(each) for each in uploads], indent=1) + "\n")


def _measure(medium: str, home: Path, data: int) -> Iterator[Upload]:
    with MEDIA[medium](home / medium) as server:
        for size in SIZES_MIB:
            place = server.place(f"of-{size}-mib")
            with closing(open_backend(place.location, place.options)) as backend:
                backend.create()
                yield _save(medium, backend, size, data // size)
            if place.folder is not None:
                shutil.rmtree(place.folder)


def _save(medium: str, backend: Backend, size: int, count: int) -> Upload:
    """As a backup does, so many at once as the medium serves well."""
    content = os.urandom(size * MIB)
    handles = [Handle(FileType.PACK, hashlib.sha256(number.to_bytes(8)).hexdigest()) for number in range(count)]
    os.sync()
    with ThreadPoolExecutor(backend.connections) as threads:
        began, client, machine = time.perf_counter(), _client(), _machine()
        list(threads.map(lambda handle: backend.save(handle, content), handles))
        wall = time.perf_counter() - began
        return Upload(medium, size, count, wall, _client() - client, _machine() - machine)


def _client() -> float:
    spent = os.times()
    return spent.user + spent.system


def _machine() -> float:
    """Seconds that all processors together have been busy."""
    user, nice, system, _, _, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(others[:2])) / _TICKS


def _loopback(data: int) -> float:
    """MiB a second from one process to another, through a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if not child:
            with socket.create_connection(listener.getsockname()) as sender:
                content = bytes(MIB)
                for _ in range(data):
                    sender.sendall(content)
            os._exit(0)
        connection, _ = listener.accept()
        buffer = bytearray(MIB)
        began = time.perf_counter()
        with connection:
            while connection.recv_into(buffer):
                pass
        wall = time.perf_counter() - began
        os.waitpid(child, 0)
    return data / wall


def _table(uploads: list[Upload]) -> str:
    rows = [_HEAD, *(each.row for each in uploads)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


if __name__ == "__main__":
    main()
