"""icebrick and restic, run as a user runs them: by name, with settings from the environment."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.narration import Narrator


class CommandError(Exception):
    """A command did not end well."""


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands with `variables` set. The narrator shows them first."""

    narrator: Narrator
    variables: Mapping[str, str]

    def show_variables(self) -> None:
        for name, value in self.variables.items():
            self.narrator.command(["export", f"{name}={value}"])

    def run(self, *words: str) -> None:
        """Let the command write to the terminal itself; CommandError if it fails."""
        self.narrator.command(words)
        # Started apart from us, so that one Ctrl-C reaches it once: from here.
        process = subprocess.Popen(words, env=self._environment(), stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()  # however long its own clean-up takes
            raise
        if code:
            raise CommandError(f"'{shlex.join(words)}' ended with exit code {code}")

    def _environment(self) -> dict[str, str]:
        commands = Path(sys.executable).parent  # where pip has put icebrick
        path = os.pathsep.join([str(commands), os.environ.get("PATH", os.defpath)])
        return {**os.environ, **self.variables, "PATH": path}


def run_tool(*words: str) -> None:
    """A program of the system, silent unless it fails: CommandError with its own words."""
    result = subprocess.run(words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise CommandError(f"'{shlex.join(words)}' failed: {' '.join(result.stderr.split())}")
