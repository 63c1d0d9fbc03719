"""The command as users start it, killed or interrupted while it stores data."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import COMMAND
from tests.faults.judging import problems_of_repository
from tests.faults.kills import back_up
from tests.faults.scene import Desk, Scene

pytestmark = pytest.mark.slow

WAIT_SECONDS = 60.0


@pytest.fixture
def desk(scene: Scene, request: pytest.FixtureRequest) -> Iterator[Desk]:
    yield scene.desk(request.node.name)
    scene.sweep()


@pytest.fixture
def storing(scene: Scene, desk: Desk) -> Iterator[subprocess.Popen[str]]:
    """A backup that has the volume's device open; storing what has changed takes it some seconds."""
    config = desk.folder / "icebrick.ini"
    config.write_text(f"[repository:slow]\nlocation = {desk.repository}\nupload-limit = 512K\n")
    command = scene.command(desk, "--config", str(config), "-r", "slow", "backup", "--single-volume-id")
    process = subprocess.Popen(
        [*COMMAND, *command.arguments, scene.volumes.used],
        env={name: value for name, value in command.environment.items() if name != "RESTIC_REPOSITORY"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for_open_device(process)
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_for_open_device(process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not any(target.startswith("/dev/loop") for target in _open_files(process.pid)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the backup opens no device"
        time.sleep(0.02)


def _open_files(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield os.readlink(link)
        except FileNotFoundError:  # closed meanwhile
            continue


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_leaves_nothing_and_ends_with_130(
    scene: Scene, desk: Desk, storing: subprocess.Popen[str], number: signal.Signals
) -> None:
    storing.send_signal(number)
    output, errors = storing.communicate(timeout=WAIT_SECONDS)
    assert (storing.returncode, output, errors.strip()) == (130, "", "icebrick: error: interrupted")
    assert scene.left(desk).is_clear
    assert list(scene.problems_of_the_volume_in_use()) == []
    back_up(scene, desk)
    assert list(problems_of_repository(scene, desk)) == []


def test_what_a_killed_backup_leaves_is_removed_by_the_next(
    scene: Scene, desk: Desk, storing: subprocess.Popen[str]
) -> None:
    storing.kill()
    storing.communicate()
    left = scene.left(desk)
    assert (left.volumes, left.snapshots, left.attachments, left.loops, left.locks) == (1, 1, 1, 1, 1)
    back_up(scene, desk)
    assert scene.left(desk).is_clear
    assert list(scene.problems_of_the_volume_in_use()) == []
    assert list(problems_of_repository(scene, desk)) == []
