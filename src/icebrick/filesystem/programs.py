"""Programs of the host that look at file systems or make them, run without a shell."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from icebrick.errors import FileSystemError

PACKAGES = {
    "blkid": "util-linux",
    "wipefs": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "e2fsck": "e2fsprogs",
    "xfs_repair": "xfsprogs",
    "btrfs": "btrfs-progs",
    "losetup": "mount",
}
"""The Debian package of each program."""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "BLKID_FILE": os.devnull}  # mkfs.btrfs would keep a cache
_SECONDS = 600
_LAST_WORDS = 4096


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has ended."""

    code: int
    last_words: str
    """At most 4 KiB of what it printed, in one line."""


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
    try:
        ended = subprocess.run(
            [path, *arguments[1:]],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise FileSystemError(f"{name} did not end within {_SECONDS} seconds") from error
    output = os.fsdecode(ended.stdout)
    if ended.returncode not in accept:
        words = " ".join(output.split())[-500:]
        raise FileSystemError(f"{name} failed with code {ended.returncode}: {words}")
    return output


def try_program(arguments: Sequence[str], *, seconds: float) -> Ended:
    """Whatever its code, and however much it prints. FileSystemError when it is missing or takes longer."""
    name, deadline = arguments[0], time.monotonic() + seconds
    process = subprocess.Popen(
        [find_program(name), *arguments[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_ENVIRONMENT,
    )
    with process:
        try:
            words = _last_words(process, deadline)
            process.wait(max(deadline - time.monotonic(), 1))
        except subprocess.TimeoutExpired as error:
            raise FileSystemError(f"{name} did not end within {seconds:.0f} seconds") from error
        finally:
            process.kill()
    return Ended(process.returncode, " ".join(os.fsdecode(words).split()))


def _last_words(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None, "it is a pipe"
    words, descriptor = b"", process.stdout.fileno()
    while select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))[0]:
        read = os.read(descriptor, 1 << 16)
        if not read:
            return words
        words = (words + read)[-_LAST_WORDS:]
    raise subprocess.TimeoutExpired(process.args, 0)
