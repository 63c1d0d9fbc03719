"""What a configuration option is: one declaration feeds the loader, the command's help and the reference pages."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from icebrick.errors import UsageError

T = TypeVar("T")

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]*")
_PROJECT_ID = re.compile(r"[0-9a-f-]+")
_SIZE = re.compile(r"([0-9]+)([BKMGT]?)", re.IGNORECASE)
_SIZE_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TIME_UNITS = {"s": 1, "m": 60, "h": 3600}


class Kind(Enum):
    """What a job's JSON must have for a value; called as people call it."""

    TEXT = "a string"
    NUMBER = "a whole number"
    FLAG = "true or false"
    LIST = "an array of strings, or one string with commas"


@dataclass(frozen=True, slots=True, eq=False)
class Reader(Generic[T]):
    """Makes a value of text. `read` raises ValueError for text that is not what `expected` says."""

    read: Callable[[str], T]
    expected: str
    metavar: str
    kind: Kind = Kind.TEXT
    choices: tuple[str, ...] = ()
    """The words there are, where they are few."""


@dataclass(frozen=True, slots=True, eq=False)
class Option(Generic[T]):
    """One option. Compared by identity, so it can key a mapping of what was given."""

    section: str
    """The INI section, without a name: `repository` stands for every `[repository:NAME]`."""
    key: str
    reader: Reader[T]
    default: T
    help: str
    """A sentence, without the default and the environment variable: those are added where it is shown."""
    flags: tuple[str, ...] = ()
    environment: str | None = None
    secret: bool = False
    """Its value is shown as *** and may stand neither in the file nor on the command line."""
    actions: tuple[str, ...] = ()
    """The actions it is for, which are the names of commands and what a job can do."""

    @property
    def default_text(self) -> str:
        """As it would be written; empty for none."""
        return written(self.default)


def written(value: Any) -> str:
    """A value as it would stand in the file; empty for none."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(map(str, value))
        case Mapping():
            return ", ".join(f"{old}={new}" for old, new in value.items())
        case _:
            return str(value)


def _text(text: str) -> str:
    if not text:
        raise ValueError("empty")
    return text


def _path(text: str) -> Path:
    return Path(_text(text)).expanduser()


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _flag(text: str) -> bool:
    return {"yes": True, "true": True, "no": False, "false": False}[text.lower()]


class ByteCount(int):
    """Written with the largest unit that it is a multiple of."""

    def __str__(self) -> str:
        unit = next(unit for unit in reversed(_SIZE_UNITS) if self % _SIZE_UNITS[unit] == 0)
        return f"{self // _SIZE_UNITS[unit]}{unit}"


def _size(text: str) -> ByteCount:
    """With a unit, as numbers alone are bytes to some programs and KiB to others: restic's limits are KiB."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    digits, unit = match.groups()
    if not unit:
        hint = f"Bytes are {digits}B; restic's limits are in KiB, which is {digits}K here."
        raise UsageError(f"{text!r} needs a unit: B, K, M, G or T", hint=hint)
    return ByteCount(_count(digits) * _SIZE_UNITS[unit.upper()])


def _duration(text: str) -> int:
    digits = text.rstrip("smh")
    unit = text[len(digits) :] or "s"
    number = int(digits)
    if number < 0:
        raise ValueError(text)
    return number * _TIME_UNITS[unit]


def _identity(text: str) -> str:
    """Goes into requests' paths, so it must be one step of one."""
    if _ID.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _project(text: str) -> str:
    """Goes into paths of repositories too."""
    if _PROJECT_ID.fullmatch(text) is None:
        raise ValueError(text)
    return text


def choice(*values: str) -> Reader[str]:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    expected = values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    return Reader(read, expected, "|".join(values), choices=values)


def several(item: Callable[[str], T], expected: str, metavar: str) -> Reader[tuple[T, ...]]:
    """Any number of items with commas between them. Of equal ones, the first counts."""

    def read(text: str) -> tuple[T, ...]:
        return tuple(dict.fromkeys(item(_text(part.strip())) for part in text.split(","))) if text.strip() else ()

    return Reader(read, f"{expected}, separated by commas", metavar, Kind.LIST)


def replacements(expected: str) -> Reader[Mapping[str, str]]:
    """Any number of OLD=NEW with commas between them."""

    def pair(text: str) -> tuple[str, str]:
        old, _, new = text.partition("=")
        return _text(old.strip()), _text(new.strip())

    def read(text: str) -> Mapping[str, str]:
        found = pairs.read(text)
        if len(dict(found)) != len(found):
            raise ValueError(text)
        return dict(found)

    pairs = several(pair, f"OLD=NEW: {expected}", "OLD=NEW")
    return Reader(read, pairs.expected, pairs.metavar, Kind.LIST)


def named_values(families: Collection[str]) -> Reader[Mapping[str, str]]:
    """Any number of FAMILY.KEY=VALUE with commas between them; a comma before anything else is part of a value."""
    names = rf"(?:{'|'.join(map(re.escape, families))})\.[A-Za-z0-9_-]+"
    between, one = re.compile(rf",\s*(?={names}=)"), re.compile(rf"({names})=(.*)", re.DOTALL)

    def read(text: str) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for part in between.split(text.strip()) if text.strip() else ():
            match = one.fullmatch(part)
            if match is None:
                raise ValueError(text)
            name, value = match.groups()
            if found.setdefault(name, value.strip()) != value.strip():
                raise UsageError(f"{name} is said twice")
        return found

    kinds = ", ".join(f"{family}." for family in families)
    return Reader(read, f"KEY=VALUE, separated by commas; keys begin with one of {kinds}", "KEY=VALUE", Kind.LIST)


NAME: Reader[str | None] = Reader(_text, "a name", "NAME")
ADDRESS: Reader[str | None] = Reader(_address, "an IP address", "ADDRESS")
PATH: Reader[Path | None] = Reader(_path, "a path", "PATH")
IDS: Reader[tuple[str, ...]] = several(_identity, "ids", "ID")
PROJECT: Reader[str | None] = Reader(_project, "a project's id: hexadecimal digits, perhaps with hyphens", "ID")
NUMBER: Reader[int] = Reader(_count, "a whole number of at least 1", "N", Kind.NUMBER)
COUNT: Reader[int | None] = Reader(_count, NUMBER.expected, NUMBER.metavar, NUMBER.kind)
FLAG: Reader[bool] = Reader(_flag, "yes or no", "yes|no", Kind.FLAG)
RATE: Reader[int | None] = Reader(
    _size, "bytes per second: a number of at least 1 with B, K, M, G or T, powers of 1024", "RATE"
)
SIZE: Reader[int] = Reader(_size, "bytes: a number of at least 1 with B, K, M, G or T, powers of 1024", "SIZE")
DURATION: Reader[int] = Reader(_duration, "a time: a whole number with s, m or h", "TIME")
