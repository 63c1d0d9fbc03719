"""A repository's location as the operator writes it, which is as restic has it; see `media` for what serves it.

local:/srv/backup, or just a path                       a directory
s3:https://host[:port]/bucket[/prefix]                  s3:host/bucket/prefix means https
swift:container:/prefix
sftp:user@host:/path, sftp://user@host:port//path
ftp://user:password@host[:port]/path, ftps://...
rest:https://user:password@host[:port]/path/
rclone:remote:path
mem:                                                    memory, gone afterwards
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from icebrick.errors import UsageError

SCHEMES = ("ftp", "ftps", "local", "mem", "rclone", "rest", "s3", "sftp", "swift")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
# Up to the last @, as passwords hold anything: rather hide a piece of a path than show one of a password.
_PASSWORD = re.compile(r"^((?:(?:[A-Za-z0-9+.-]+:)?//)?[^/:]*):.*@", re.DOTALL)
# rclone's remote,password=...:path; the path goes with them, as a quoted value may hold anything.
_PARAMETERS = re.compile(r"^(:?[^:,]*),.*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a repository is. `address` is all after the scheme and may hold a password; str() of this does not."""

    scheme: str
    address: str = field(repr=False)

    def __str__(self) -> str:
        if self.scheme == "rclone":
            return self.scheme + ":" + _PARAMETERS.sub(r"\1,***", self.address)
        return self.scheme + ":" + _PASSWORD.sub(r"\1:***@", self.address)

    def below(self, name: str) -> Location:
        """The place of this name inside; of memory there is but one."""
        if self.scheme == "mem":
            return self
        at_home = self.scheme in {"sftp", "rclone"} and self.address.endswith(":")  # host: is not host:/
        return Location(self.scheme, self.address + name if at_home else f"{self.address.rstrip('/')}/{name}")


def parse_location(text: str) -> Location:
    """Split a location; UsageError when no backend serves it. As in restic, a path needs no scheme."""
    if not text:
        raise UsageError("the repository location is empty")
    scheme, address = _split(text)
    if scheme not in SCHEMES:
        raise UsageError(
            f"unknown kind of repository location: {scheme}",
            hint=f"Known are {', '.join(SCHEMES)}; write local:PATH for a path with a colon in it.",
        )
    return Location(scheme, address)


def _split(text: str) -> tuple[str, str]:
    match = _SCHEME.fullmatch(text)
    return (match[1].lower(), match[2]) if match else ("local", text)
