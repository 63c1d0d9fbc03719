"""The folder and the devcloud that the demonstration happens in. Both are gone afterwards, however it ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.evidence import ProofError
from demo.shell import run_tool
from icebrick.devcloud import host
from icebrick.devcloud.devcloud import Devcloud

FOLDER = Path("/var/tmp/icebrick-demo")  # noqa: S108 - made for root alone; /tmp may be too small


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder of this process. Those of demonstrations that were killed are cleared first."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    for abandoned in FOLDER.iterdir():
        if not Path("/proc", abandoned.name).exists():
            clear(abandoned)
    folder = FOLDER / str(os.getpid())
    folder.mkdir()
    try:
        yield folder
    finally:
        clear(folder)
        _remove_if_empty(FOLDER)


@contextmanager
def devcloud(folder: Path) -> Iterator[Devcloud]:
    """A running Keystone and Cinder, whose processes end with ours whatever happens."""
    cloud = Devcloud(folder / "cloud")
    try:
        cloud.up(owned=True)
        yield cloud
    finally:
        cloud.down()


def guest_folder(folder: Path) -> Path:
    """Where the guest's file system is mounted."""
    return folder / "guest"


def clear(folder: Path) -> None:
    """Unmount, end and remove all that a demonstration has made; what it did not come to make is no error."""
    if guest_folder(folder).is_mount():
        run_tool("umount", str(guest_folder(folder)))
    Devcloud(folder / "cloud").down()
    if folder.exists():
        shutil.rmtree(folder)


def prove_clear(folder: Path) -> None:
    """ProofError when a loop device, a mount or a file is left."""
    left = [*host.find_mounts(folder), *host.find_loops(folder), *([folder] if folder.exists() else [])]
    if left:
        raise ProofError(f"left behind: {', '.join(map(str, left))}")


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
