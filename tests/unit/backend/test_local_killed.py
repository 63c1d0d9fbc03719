"""kill -9 at every step of a save: under the final name is the old file, the new file or none; never a part."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys

import pytest

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.local import LocalBackend

PACK = Handle(FileType.PACK, "ab" + "0" * 62)
WARM_UP = Handle(FileType.PACK, "ab" + "1" * 62)
OLD, NEW = b"old" * 50_000, b"new" * 100_000

# Saves NEW over PACK and dies at the given call of one function of os: before it, or when half was written.
CHILD = f"""
import os, signal, sys
from pathlib import Path
from icebrick.backend.base import FileType, Handle
from icebrick.backend.local import LocalBackend

root, name, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
backend = LocalBackend(root)
backend.save(Handle(FileType.PACK, {WARM_UP.name!r}), b"warm-up")
real, calls = getattr(os, name), 0

def deadly(*arguments):
    global calls
    calls += 1
    if calls == number:
        if name == "write":
            real(arguments[0], arguments[1][: len(arguments[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)

setattr(os, name, deadly)
backend.save(Handle(FileType.PACK, {PACK.name!r}), {NEW[:3]!r} * {len(NEW) // 3})
"""


def save_and_die(root, step):
    name, number = step
    child = subprocess.run([sys.executable, "-c", CHILD, str(root), name, str(number)], check=False)
    assert child.returncode == -signal.SIGKILL


BEFORE_ITS_NAME = [("open", 1), ("write", 1), ("fchmod", 1), ("fsync", 1), ("close", 1), ("rename", 1)]
AFTER_ITS_NAME = [("open", 2), ("fsync", 2), ("close", 2)]


@pytest.mark.parametrize("step", BEFORE_ITS_NAME)
def test_a_save_killed_before_the_rename_leaves_no_file_under_the_name(tmp_path, step):
    save_and_die(tmp_path, step)
    backend = LocalBackend(tmp_path)
    assert list(backend.list_files(FileType.PACK)) == [FileInfo(WARM_UP, 7)]


@pytest.mark.parametrize("step", BEFORE_ITS_NAME)
def test_a_replacement_killed_before_the_rename_leaves_the_old_file(tmp_path, step):
    LocalBackend(tmp_path).save(PACK, OLD)
    save_and_die(tmp_path, step)
    assert LocalBackend(tmp_path).load(PACK) == OLD


@pytest.mark.parametrize("step", AFTER_ITS_NAME)
def test_a_save_killed_after_the_rename_leaves_the_whole_file(tmp_path, step):
    save_and_die(tmp_path, step)
    assert LocalBackend(tmp_path).load(PACK) == NEW


def test_what_a_killed_save_leaves_is_its_owners_alone(tmp_path):
    save_and_die(tmp_path, ("fchmod", 1))
    (left,) = tmp_path.glob("data/ab/*-tmp-*")
    assert stat.S_IMODE(left.stat().st_mode) == 0o600


def test_a_save_after_a_killed_one_is_not_hindered_by_what_that_left(tmp_path):
    save_and_die(tmp_path, ("write", 1))
    LocalBackend(tmp_path).save(PACK, NEW)
    assert LocalBackend(tmp_path).load(PACK) == NEW
