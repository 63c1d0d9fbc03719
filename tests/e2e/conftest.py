"""The command as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-c", "from icebrick.cli.main import main; main()")


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands run, and with which variables."""

    directory: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=self.environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    home = tmp_path / "home"
    home.mkdir()
    return Shell(tmp_path, {**kept, "HOME": str(home), "ICEBRICK_STATE_DIR": str(tmp_path / "state")})


@pytest.fixture
def repository(shell: Shell, tmp_path: Path) -> Path:
    """A new repository, which commands of the shell use unless they name another."""
    path = tmp_path / "repository"
    shell.environment.update(RESTIC_REPOSITORY=str(path), RESTIC_PASSWORD="geheim")
    assert shell.run("init").returncode == 0
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An image, larger than any pipe."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.write(os.urandom(4 << 20))
        file.truncate(8 << 20)
    return path


Require = Callable[[str, object, str], None]
