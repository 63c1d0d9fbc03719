"""Which of command line, environment, file and default counts, and where each value came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from icebrick.config.file import ConfigFile, read_text
from icebrick.config.option import Option

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """A value and its origin, such as `command line` or `environment RESTIC_REPOSITORY`."""

    option: Option[T]
    section: str
    value: T
    origin: str

    @property
    def shown(self) -> str:
        """The value for people: secrets masked, absent ones empty."""
        if self.value is None:
            return ""
        return "***" if self.option.secret else str(self.value)


@dataclass(frozen=True, slots=True)
class Sources:
    """What was given, before anything is decided. `command_line` holds text by option."""

    command_line: Mapping[Option[Any], str]
    environment: Mapping[str, str]
    file: ConfigFile

    def resolve(self, option: Option[T], section: str | None) -> Resolved[T]:
        """The value that counts. `section` is the file's section to look in, None for nowhere."""
        for text, origin in self._given(option, section):
            if text is not None:
                return Resolved(option, section or option.section, cast(T, read_text(option, text, origin)), origin)
        return Resolved(option, section or option.section, option.default, "default")

    def without(self, option: Option[Any]) -> Sources:
        """The same, as if only the file could say this option."""
        command_line = {other: text for other, text in self.command_line.items() if other is not option}
        environment = {name: text for name, text in self.environment.items() if name != option.environment}
        return Sources(command_line, environment, self.file)

    def _given(self, option: Option[T], section: str | None) -> list[tuple[str | None, str]]:
        given: list[tuple[str | None, str]] = [(self.command_line.get(option), f"command line {_flag(option)}")]
        if option.environment is not None:
            # An empty variable counts as unset, as with restic.
            given.append((self.environment.get(option.environment) or None, f"environment {option.environment}"))
        if section is not None:
            given.append((self.file.text(section, option.key), f"{self.file.path} [{section}] {option.key}"))
        return given


def _flag(option: Option[Any]) -> str:
    return option.flags[-1] if option.flags else ""
