"""The demonstration, as `make demo` starts it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import stage
from icebrick.devcloud import host
from icebrick.devcloud.environment import default_environment

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(root: None, restic: str, require: Callable[[str, Any, str], None]) -> Iterator[subprocess.Popen[str]]:
    require("cinder", shutil.which("mkfs.btrfs"), "no mkfs.btrfs on the PATH")
    environment = {**os.environ}
    environment.setdefault("ICEBRICK_DEVCLOUD_VENV", str(default_environment()))
    process = subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        yield process
        process.terminate()  # only after a failure it is still there


def assert_nothing_is_left(process: subprocess.Popen[str]) -> None:
    folder = stage.FOLDER / str(process.pid)
    assert not folder.exists()
    assert host.find_loops(folder) == ()
    assert host.find_mounts(folder) == ()


def test_the_demonstration_proves_what_it_promises(demo: subprocess.Popen[str]) -> None:
    output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert output.count("✓") == 5
    assert "All proved." in output
    assert_nothing_is_left(demo)


def test_a_demonstration_that_is_interrupted_leaves_nothing(demo: subprocess.Popen[str]) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if "icebrick backup" in line:
            break
    demo.send_signal(signal.SIGINT)
    rest = demo.stdout.read()
    assert demo.wait() == 130, rest
    assert "demo: interrupted" in rest
    assert_nothing_is_left(demo)
