"""Programs of the host that look at file systems or make them, run without a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from icebrick.errors import FileSystemError

PACKAGES = {
    "blkid": "util-linux",
    "wipefs": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
}
"""The Debian package of each program."""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 600


def find_program(name: str) -> str:
    """Where it is; FileSystemError when it is not installed."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise FileSystemError(
            f"the program {name} is not installed", hint=f"Debian has it in the package {PACKAGES[name]}."
        )
    return path


def run_program(arguments: Sequence[str], *, accept: Sequence[int] = (0,)) -> str:
    """What the program prints; FileSystemError with its last words when it is missing or fails."""
    name = arguments[0]
    path = find_program(name)
    environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "BLKID_FILE": os.devnull}  # mkfs.btrfs would keep a cache
    try:
        ended = subprocess.run(
            [path, *arguments[1:]],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise FileSystemError(f"{name} did not end within {_SECONDS} seconds") from error
    output = os.fsdecode(ended.stdout)
    if ended.returncode not in accept:
        words = " ".join(output.split())[-500:]
        raise FileSystemError(f"{name} failed with code {ended.returncode}: {words}")
    return output
