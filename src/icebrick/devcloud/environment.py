"""The virtual environment that Cinder and Keystone run in: made once, with pinned versions, apart from ours.

Another list of requirements makes one for other servers.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebrick.devcloud.processes import SERVER_FOLDER
from icebrick.errors import DevcloudError
from icebrick.progress import NO_PROGRESS, Progress

REQUIREMENTS = SERVER_FOLDER / "requirements.txt"


def default_environment() -> Path:
    return Path.home() / ".cache" / "icebrick" / "devcloud"


def prepare_environment(folder: Path, progress: Progress = NO_PROGRESS, *, requirements: Path = REQUIREMENTS) -> Path:
    """The Python of the virtual environment in `folder`, which is made if it is missing, unfinished or outdated.

    Takes about a minute when it must be made. Others who want the same one wait.
    """
    python = folder / "bin" / "python"
    # Of the path too: a virtual environment that was moved does not work.
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode() + os.fsencode(folder)).hexdigest()
    with _locked(folder):
        if _mark(folder) != wanted:
            _refuse_foreign(folder)
            with progress.task("install Cinder and Keystone"):
                _make(folder, python, requirements)
            (folder / "complete").write_text(wanted)  # last: without it the next one begins anew
    return python


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process at a time makes the environment; the kernel takes the lock from one that is killed."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("w")
    except OSError as error:
        raise DevcloudError(f"cannot make environment {folder}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _mark(folder: Path) -> str | None:
    try:
        return (folder / "complete").read_text()
    except FileNotFoundError:
        return None


def _refuse_foreign(folder: Path) -> None:
    """Whatever is in the folder will be removed: it must be ours, which means a virtual environment or nothing."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise DevcloudError(
            f"folder {folder} is neither empty nor a virtual environment",
            hint="Name another folder for the environment, or remove this one.",
        )


def _make(folder: Path, python: Path, requirements: Path) -> None:
    if folder.exists():
        (folder / "complete").unlink(missing_ok=True)  # first: dying in the removal must not leave it
        shutil.rmtree(folder)
    _run(sys.executable, "-m", "venv", str(folder))
    # The list names all that is needed in versions that fit: nothing is left to resolve. Not compiled: the servers
    # import a quarter of what there is, and compile that when they do.
    options = ("--quiet", "--no-input", "--no-deps", "--no-compile")
    _run(str(python), "-m", "pip", "install", *options, "--requirement", str(requirements))


def _run(*command: str) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        words = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise DevcloudError(
            f"cannot make an environment for servers: {' '.join(command[1:4])} failed: {words[-1] if words else ''}",
            hint="It is installed with pip once, from the package index that pip is set up for.",
        )
