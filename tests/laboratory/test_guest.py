"""A guest gives back what its command did, and nothing of it stays."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from icebrick.testing.lab.guest import DIED, TIMED_OUT, Job, run_in_guest
from icebrick.testing.lab.image import Image
from icebrick.testing.lab.recipe import LabError

pytestmark = pytest.mark.slow

WAIT_SECONDS = 60.0


def run(image: Image, script: str, **more: object) -> tuple[int, str]:
    output = io.BytesIO()
    code = run_in_guest(image, Job(["bash", "-c", script], **more), output)  # type: ignore[arg-type]
    return code, output.getvalue().decode()


def test_output_exit_code_and_files_come_back_whole(image: Image, tmp_path: Path) -> None:
    shared, seen = tmp_path / "shared", tmp_path / "seen"
    for folder in (shared, seen):
        folder.mkdir()
        (folder / "given").write_text("from the host")
    script = f"""
        test "$GREETING" = "it's \\$me" || exit 1
        grep -q 'from the host' {seen}/given {shared}/given || exit 2
        echo changed > {seen}/given
        head -c 3000000 /dev/urandom > {shared}/made
        base64 {shared}/made
        exit 7
    """
    code, output = run(image, script, seen=[seen], shared=[shared], environment={"GREETING": "it's $me"})
    assert code == 7
    made = subprocess.run(["base64", shared / "made"], check=True, capture_output=True, text=True).stdout
    assert len(made) > 3000000
    assert hashlib.sha256(output.encode()).digest() == hashlib.sha256(made.encode()).digest()
    assert (seen / "given").read_text() == "from the host"


def test_a_guest_that_takes_too_long_ends(image: Image) -> None:
    assert run(image, "sleep 1000", seconds=1)[0] == TIMED_OUT


def test_a_guest_that_dies_says_why(image: Image) -> None:
    code, output = run(image, "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 1000")
    assert code == DIED
    assert "sysrq triggered crash" in output


def test_what_cannot_be_shared_is_refused(image: Image, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot share"):
        run(image, "true", seen=[tmp_path / "missing"])


def test_nothing_of_a_guest_outlives_a_killed_runner(image: Image) -> None:
    command = [sys.executable, "-m", "icebrick.testing.lab", "run", "--bare", "--", "sleep", "1000"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as runner:
        folder = wait_for_folder(runner.pid)
        runner.kill()
    end = time.monotonic() + WAIT_SECONDS
    while folder.exists() or list(processes_of(folder)):
        assert time.monotonic() < end, "something of the guest stays"
        time.sleep(0.05)


def wait_for_folder(runner: int) -> Path:
    """The guest's, once its kernel runs."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        for folder in Path("/var/tmp").glob(f"icebrick-lab-{runner}-*"):
            if (folder / "uml").exists():
                return folder
        time.sleep(0.05)
    raise AssertionError("no guest starts")


def processes_of(folder: Path) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.fsencode(folder) in (entry / "cmdline").read_bytes():
                yield int(entry.name)
        except OSError:  # it ended meanwhile
            continue


def test_a_runner_that_is_told_to_end_takes_the_guest_with_it(image: Image) -> None:
    command = [sys.executable, "-m", "icebrick.testing.lab", "run", "--bare", "--", "sleep", "1000"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as runner:
        folder = wait_for_folder(runner.pid)
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(WAIT_SECONDS) == 130
    assert not folder.exists()
    assert not list(processes_of(folder))
