"""Which of command line, environment, job, file and default counts, and where each value came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Generic, TypeVar, cast

from icebrick.config.file import ConfigFile, read_text
from icebrick.config.job import Job
from icebrick.config.option import Option, written
from icebrick.errors import UsageError

T = TypeVar("T")


class Rank(IntEnum):
    """Of two sources, the lower one counts."""

    COMMAND_LINE = 0
    ENVIRONMENT = 1
    JOB = 2
    FILE = 3
    DEFAULT = 4


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """A value and its origin, such as `command line` or `environment RESTIC_REPOSITORY`."""

    option: Option[T]
    section: str
    value: T
    rank: Rank
    origin: str

    @property
    def shown(self) -> str:
        """The value for people: secrets masked, absent ones empty."""
        return "***" if self.option.secret and self.value is not None else written(self.value)


@dataclass(frozen=True, slots=True)
class Sources:
    """What was given, before anything is decided. `command_line` holds text by option."""

    command_line: Mapping[Option[Any], str]
    environment: Mapping[str, str]
    file: ConfigFile
    job: Job | None = None

    def resolve(self, option: Option[T], section: str | None) -> Resolved[T]:
        """The value that counts. `section` is the file's section to look in, None for nowhere."""
        where = section or option.section
        for rank, text, origin in self._given(option, section):
            if text is not None:
                return Resolved(option, where, cast(T, read_text(option, text, origin)), rank, origin)
        return Resolved(option, where, option.default, Rank.DEFAULT, "default")

    def without(self, option: Option[Any]) -> Sources:
        """The same, as if only the file could say this option."""
        command_line = {other: text for other, text in self.command_line.items() if other is not option}
        environment = {name: text for name, text in self.environment.items() if name != option.environment}
        return replace(self, command_line=command_line, environment=environment)

    def _given(self, option: Option[Any], section: str | None) -> Iterator[tuple[Rank, str | None, str]]:
        yield Rank.COMMAND_LINE, self.command_line.get(option), f"command line {_flag(option)}"
        if option.environment is not None:
            # An empty variable counts as unset, as with restic.
            text = self.environment.get(option.environment) or None
            yield Rank.ENVIRONMENT, text, f"environment {option.environment}"
        if self.job is not None:
            yield Rank.JOB, self.job.values.get(option), self.job.where(option)
        if section is not None:
            yield Rank.FILE, self.file.text(section, option.key), f"{self.file.path} [{section}] {option.key}"


class Resolver:
    """Resolves options one by one and remembers them for `config show`."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.resolved: list[Resolved[Any]] = []

    def get(self, option: Option[T], section: str | None) -> T:
        return self.look_up(option, section).value

    def look_up(self, option: Option[T], section: str | None) -> Resolved[T]:
        found = self.sources.resolve(option, section)
        self.resolved.append(found)
        return found

    def get_or(self, option: Option[T | None], section: str | None, default: T) -> T:
        """For a default that depends on who asks."""
        found = self.sources.resolve(option, section)
        value = default if found.value is None else found.value
        self.resolved.append(replace(found, value=value))
        return value


def the_one_that_counts(some: Iterable[Resolved[Any]]) -> Resolved[Any] | None:
    """Of options that exclude each other, the one said in the source that counts most; None when none is said.

    UsageError when that source says two.
    """
    said = sorted((each for each in some if each.value != each.option.default), key=lambda each: each.rank)
    if len(said) > 1 and said[0].rank == said[1].rank:
        raise UsageError(f"{said[0].origin} and {said[1].origin} exclude each other")
    return said[0] if said else None


def _flag(option: Option[Any]) -> str:
    """The long one that says yes."""
    return next((flag for flag in reversed(option.flags) if not flag.startswith("--no-")), "")
