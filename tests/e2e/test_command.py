"""What only a process of its own can show: signals, terminals, pipes, and what is imported."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import COMMAND, Require, Shell

# Passwords are asked for at the controlling terminal, wherever standard input comes from.
AT_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from icebrick.cli.main import main; main()"


@pytest.fixture
def stored(shell: Shell, repository: Path, disk: Path) -> Path:
    assert shell.run("backup", "--image", disk, "--name", "disk1").returncode == 0
    return repository


def test_help_and_version_wait_for_no_heavy_library(shell: Shell) -> None:
    heavy = "{'numpy', 'openstack', 'os_brick', 'rich', 'cryptography', 'blake3', 'zstandard'}"
    told = subprocess.run(
        [COMMAND[0], "-c", f"import sys, icebrick.cli.main; print(*({heavy} & set(sys.modules)))"],
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == ""


@pytest.mark.parametrize(
    "command", ["backup --image {disk} --name disk1", "restore --image-name disk1 --target {other}"]
)
def test_images_wait_for_no_library_of_clouds_or_terminals(
    shell: Shell, stored: Path, disk: Path, tmp_path: Path, command: str
) -> None:
    heavy = """{
        'openstack', 'keystoneauth1', 'requests', 'os_brick', 'oslo_config', 'rich', 'asyncio', 'ssl', 'http.client',
        'email', 'importlib.metadata', 'icebrick.cloud.session', 'icebrick.attach.brick', 'icebrick.workflow.cleanup',
    }"""
    arguments = ["--json", *command.format(disk=disk, other=tmp_path / "other").split()]
    program = f"import sys; from icebrick.cli.main import run; assert run({arguments}, as_json=True) == 0"
    told = subprocess.run(
        [COMMAND[0], "-c", f"{program}; print(*({heavy} & set(sys.modules)))"],
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.splitlines()[-1] == ""


def test_help_shows_examples(shell: Shell) -> None:
    told = shell.run("--help")
    assert told.returncode == 0
    assert "Examples:" in told.stdout


def test_a_terminated_command_ends_with_130_and_leaves_no_lock(shell: Shell, stored: Path) -> None:
    process = shell.start("restore", "--image-name", "disk1", "--target", "-")
    assert process.stdout is not None
    process.stdout.read(1)
    assert len(list((stored / "locks").iterdir())) == 1
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert (process.returncode, errors.decode().strip()) == (130, "icebrick: error: interrupted")
    assert list((stored / "locks").iterdir()) == []


def test_a_killed_commands_lock_is_removed_by_the_next(shell: Shell, stored: Path, disk: Path) -> None:
    process = shell.start("restore", "--image-name", "disk1", "--target", "-")
    assert process.stdout is not None
    process.stdout.read(1)
    process.kill()
    process.communicate()
    assert len(list((stored / "locks").iterdir())) == 1
    assert shell.run("backup", "--image", disk, "--name", "disk1").returncode == 0
    assert list((stored / "locks").iterdir()) == []


def test_a_closed_pipe_is_told_without_a_traceback(shell: Shell, stored: Path) -> None:
    process = shell.start("restore", "--image-name", "disk1", "--target", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 1
    assert errors.strip() == "icebrick: error: standard output was closed before all data was written"


def test_the_password_is_asked_for_twice_and_not_shown(shell: Shell, tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [COMMAND[0], "-c", AT_TERMINAL, "-r", str(tmp_path / "new"), "init"],
        env=shell.environment,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    shown = b""
    for _ in range(2):
        shown += _read_until(terminal, b": ")
        os.write(terminal, b"geheim\n")
    shown += _read_until(terminal, b"created repository")
    process.wait()
    os.close(terminal)
    assert process.returncode == 0
    assert b"geheim" not in shown
    shell.environment["RESTIC_PASSWORD"] = "geheim"
    assert shell.run("-r", tmp_path / "new", "snapshots").returncode == 0


def _read_until(terminal: int, wanted: bytes) -> bytes:
    got = b""
    while wanted not in got:
        got += os.read(terminal, 1024)
    return got


def test_a_bug_is_shown_with_its_traceback_and_called_one(shell: Shell) -> None:
    broken = "import icebrick.cli.main as m; m.run = lambda *a, **k: 1 // 0; m.main()"
    told = subprocess.run(
        [COMMAND[0], "-c", broken], env=shell.environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert "ZeroDivisionError" in told.stderr
    assert "This is a bug in icebrick" in told.stderr


def test_a_configuration_file_is_enough(shell: Shell, stored: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\n")
    config = tmp_path / "icebrick.conf"
    config.write_text(f"[repository:main]\nlocation = {stored}\npassword-file = {tmp_path}/password\n")
    del shell.environment["RESTIC_REPOSITORY"], shell.environment["RESTIC_PASSWORD"]
    shell.environment["ICEBRICK_CONFIG"] = str(config)
    assert "/image/disk1" in shell.run("snapshots").stdout


def test_stock_restic_checks_and_restores_what_was_backed_up(
    shell: Shell, stored: Path, disk: Path, tmp_path: Path, require: Require
) -> None:
    restic = shutil.which("restic")
    require("restic", restic, "not installed")
    for arguments in (["check", "--read-data"], ["restore", "latest", "--target", str(tmp_path / "out")]):
        command = [str(restic), "--no-cache", *arguments]
        subprocess.run(command, env=shell.environment, check=True, capture_output=True)
    assert (tmp_path / "out/volume.raw").read_bytes() == disk.read_bytes()
