"""A program that mounts something, as a process of its own: a test that looks at its own threads' mount may hang."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 30.0


@contextmanager
def mounting(
    command: Sequence[str], mountpoint: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, when something is mounted at `mountpoint`; asked to end with the block, and unmounted in any case.

    AssertionError with what the program said when it ends before.
    """
    mountpoint.mkdir(exist_ok=True)
    with (mountpoint.parent / f"{mountpoint.name}.log").open("w+b") as log:
        process = subprocess.Popen(command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT)
        try:
            if not _is_mounted(mountpoint, process):
                log.seek(0)
                raise AssertionError(f"not mounted: {log.read()!r}")
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if os.path.ismount(mountpoint):
                subprocess.run(["umount", "--lazy", str(mountpoint)], check=True)


def _is_mounted(mountpoint: Path, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if os.path.ismount(mountpoint):
            return True
        time.sleep(0.02)
    return False
