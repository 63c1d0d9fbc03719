"""The stock restic program, pointed at one repository."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Restic:
    """Runs restic without a cache, so that it sees what is stored."""

    program: str
    repository: Path | str
    """A folder, or a location as restic writes it."""
    password: str
    options: tuple[str, ...] = ()
    """Arguments that the location needs with every command."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Variables that it needs."""

    def attempt(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The finished process, whatever its exit code."""
        return subprocess.run(
            [self.program, "--no-cache", *self.options, *arguments],
            env=self.environment | dict(environment or {}),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """What it prints; AssertionError with all it said when it fails."""
        process = self.attempt(*arguments, environment=environment)
        if process.returncode:
            raise AssertionError(f"restic {' '.join(arguments)}: {process.stdout}{process.stderr}")
        return process.stdout

    def json(self, *arguments: str) -> Any:
        """What it prints, read as JSON."""
        return json.loads(self.run(*arguments, "--json"))

    def raw_blob(self, blob_id: str) -> bytes:
        """The plaintext of a blob."""
        return subprocess.run(
            [self.program, "--no-cache", *self.options, "cat", "blob", blob_id],
            env=self.environment,
            capture_output=True,
            check=True,
        ).stdout

    @property
    def environment(self) -> dict[str, str]:
        """For a process that shall use this repository."""
        repository = {"RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD": self.password}
        return os.environ | dict(self.credentials) | repository
