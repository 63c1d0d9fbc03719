"""From a location as the operator writes it to the backend that serves it.

local:/srv/backup, or just a path      a directory
mem:                                   memory, gone afterwards
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from icebrick.backend.base import Backend
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import UsageError

Factory = Callable[["Location"], Backend]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
# Up to the last @, as passwords hold anything: rather hide a piece of a path than show one of a password.
_PASSWORD = re.compile(r"^((?:(?:[A-Za-z0-9+.-]+:)?//)?[^/:]*):.*@", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a repository is. `address` is all after the scheme and may hold a password; str() of this does not."""

    scheme: str
    address: str = field(repr=False)

    def __str__(self) -> str:
        return self.scheme + ":" + _PASSWORD.sub(r"\1:***@", self.address)


def parse_location(text: str) -> Location:
    """Split a location; UsageError when no backend serves it. As in restic, a path needs no scheme."""
    if not text:
        raise UsageError("the repository location is empty")
    scheme, address = _split(text)
    if scheme not in FACTORIES:
        raise UsageError(
            f"unknown kind of repository location: {scheme}",
            hint=f"Known are {', '.join(sorted(FACTORIES))}; write local:PATH for a path with a colon in it.",
        )
    return Location(scheme, address)


def open_backend(location: Location) -> Backend:
    """The backend, without wrappers. Nothing is asked of the storage yet."""
    return FACTORIES[location.scheme](location)


def _split(text: str) -> tuple[str, str]:
    match = _SCHEME.fullmatch(text)
    return (match[1].lower(), match[2]) if match else ("local", text)


def _local(location: Location) -> Backend:
    if not location.address:
        raise UsageError("the repository location local: lacks a path")
    return LocalBackend(Path(location.address).absolute())


def _memory(location: Location) -> Backend:
    if location.address:
        raise UsageError(f"the repository location {location.scheme}: takes no address")
    return MemoryBackend()


FACTORIES: Mapping[str, Factory] = MappingProxyType({"local": _local, "mem": _memory})
