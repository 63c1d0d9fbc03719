"""What a configuration option is: one declaration feeds the loader, the command's help and the reference pages."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TIME_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, eq=False)
class Reader(Generic[T]):
    """Makes a value of text. `read` raises ValueError for text that is not what `expected` says."""

    read: Callable[[str], T]
    expected: str
    metavar: str


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

    @property
    def default_text(self) -> str:
        """As it would be written; empty for none."""
        if self.default is None:
            return ""
        return ("yes" if self.default else "no") if isinstance(self.default, bool) else str(self.default)


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


def _rate(text: str) -> int:
    digits = text.rstrip("KMGkmg")
    return _count(digits) * _SIZE_UNITS[text[len(digits) :].upper()]


def _duration(text: str) -> int:
    digits = text.rstrip("smh")
    unit = text[len(digits) :] or "s"
    number = int(digits)
    if number < 0:
        raise ValueError(text)
    return number * _TIME_UNITS[unit]


def choice(*values: str) -> Reader[str]:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    listed = values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    return Reader(read, listed, "|".join(values))


NAME: Reader[str | None] = Reader(_text, "a name", "NAME")
ADDRESS: Reader[str | None] = Reader(_address, "an IP address", "ADDRESS")
PATH: Reader[Path | None] = Reader(_path, "a path", "PATH")
COUNT: Reader[int | None] = Reader(_count, "a whole number of at least 1", "N")
FLAG: Reader[bool] = Reader(_flag, "yes or no", "yes|no")
RATE: Reader[int | None] = Reader(
    _rate, "bytes per second: a number of at least 1, with K, M or G for powers of 1024", "RATE"
)
DURATION: Reader[int] = Reader(_duration, "a time: a whole number with s, m or h", "TIME")
