"""The virtual environment of those servers that come from the package index: Swift and SeaweedFS."""

from __future__ import annotations

import os
from pathlib import Path

from icebrick.testing.servers.processes import ServerError

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
VARIABLE = "ICEBRICK_SERVERS_VENV"


def find_in_environment(name: str) -> Path | None:
    """The program in the environment that the variable names; None if it is not there, or the environment is not."""
    folder = os.environ.get(VARIABLE)
    path = Path(folder, "bin", name) if folder else None
    return path if path is not None and path.exists() else None


def need_in_environment(name: str) -> str:
    path = find_in_environment(name)
    if path is None:
        raise ServerError(f"program {name} is missing: {VARIABLE} does not name an environment that has it")
    return str(path)
