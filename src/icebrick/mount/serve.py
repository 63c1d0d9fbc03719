"""Mounting: from the first question of the kernel to the last. Only here, libfuse is spoken to."""

from __future__ import annotations

import errno
import importlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from icebrick.errors import FileSystemError, UsageError
from icebrick.mount.operations import Operations
from icebrick.mount.view import View
from icebrick.parallel import Workers

_OPTIONS = {
    "ro": True,
    "nosuid": True,
    "nodev": True,
    "noexec": True,
    "fsname": "icebrick",
    "subtype": "icebrick",
    "use_ino": True,
    # What is under a name never changes: see `catalogue`.
    "kernel_cache": True,
    "attr_timeout": 60,
    "entry_timeout": 60,
}


_THREADS = 10


class Mount:
    """One that is there. `wait` returns when somebody has unmounted it."""

    def __init__(self) -> None:
        self.started, self.ended = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Or raises what a signal does."""
        self.ended.wait()


@contextmanager
def mounted(view: View, mountpoint: Path, *, for_others: bool = False) -> Iterator[Mount]:
    """The view at the directory, until the block ends; what is still open there gets errors from then on.

    UsageError for a directory that cannot be mounted on, or without libfuse; FileSystemError when mounting fails.
    With `for_others`, other users than this one may look, as far as owners and permissions let them.
    """
    fuse = _library()
    _check(mountpoint)
    mount, work_folder = Mount(), Path.cwd()

    def ready() -> None:
        os.chdir(work_folder)  # libfuse has left it
        mount.started.set()

    operations = Operations(view, ready=ready, leave=fuse.fuse_exit)
    options: dict[str, Any] = {**_OPTIONS, "allow_other": for_others, "default_permissions": for_others}
    if (fuse.fuse_version_major, fuse.fuse_version_minor) >= (3, 12):
        options["max_idle_threads"] = _THREADS  # without it, libfuse 3.14 complains of a number of its own

    def serve(_item: None) -> None:
        try:
            fuse.FUSE(operations, str(mountpoint), foreground=True, **options)
        except RuntimeError as error:
            raise FileSystemError(f"cannot mount at {mountpoint}: libfuse ended with {error}") from error
        finally:
            mount.ended.set()
            mount.started.set()

    with view.blobs.reading_ahead(), Workers[None](serve, threads=1, name="fuse") as workers:
        workers.put(None)
        try:
            mount.started.wait()
            if not mount.ended.is_set():
                yield mount
                return
        finally:
            _end(mount, operations, mountpoint)
    raise FileSystemError(f"cannot mount at {mountpoint}")


def _end(mount: Mount, operations: Operations, mountpoint: Path) -> None:
    """Any question of the kernel makes it leave; asking for the space left is never answered from a cache."""
    operations.is_ending = True
    while not mount.ended.is_set():
        with suppress(OSError):
            os.statvfs(mountpoint)
        mount.ended.wait(0.1)


def _check(mountpoint: Path) -> None:
    try:
        os.statvfs(mountpoint)  # unlike its attributes, it is not cached: a dead mount may still have these
        is_directory = stat.S_ISDIR(mountpoint.stat().st_mode)
    except OSError as error:
        stale = error.errno == errno.ENOTCONN
        hint = f"A mount whose process was killed is still there; 'umount -l {mountpoint}' removes it."
        raise UsageError(f"cannot mount at {mountpoint}: {error.strerror}", hint=hint if stale else None) from error
    if not is_directory:
        raise UsageError(f"cannot mount at {mountpoint}: it is no directory")


def _library() -> Any:
    try:
        return importlib.import_module("mfusepy")
    except ImportError as error:
        raise UsageError("mounting needs mfusepy", hint="Install it: pip install 'icebrick[mount]'.") from error
    except OSError as error:
        raise UsageError(f"mounting needs libfuse: {error}", hint="Debian has it in the package fuse3.") from error
