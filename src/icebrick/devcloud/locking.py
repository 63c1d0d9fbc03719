"""A lock on a directory that may be made and removed meanwhile, and that leaves no file behind."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebrick.errors import DevcloudError


@contextmanager
def locked_directory(directory: Path) -> Iterator[None]:
    """Make the directory if it is missing, and keep others who lock it waiting until the block ends.

    The lock is on the directory itself. Who removes the directory in the block leaves those who wait with a lock
    on nothing: they see that, and begin again. Programs that inherit the lock keep it until they end.
    """
    while True:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # removed between the two
            continue
        except OSError as error:
            raise DevcloudError(f"cannot use directory {directory}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.set_inheritable(descriptor, True)  # for `host.run_tool`
            if _is_still_there(directory, descriptor):
                _refuse_shared(directory, descriptor)
                yield
                return
        finally:
            os.close(descriptor)


def _is_still_there(directory: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(directory.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _refuse_shared(directory: Path, descriptor: int) -> None:
    """Who else may write in the directory could make root run or remove what they please."""
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DevcloudError(
            f"directory {directory} may be written by others", hint="Name another directory, or one that is not there."
        )
