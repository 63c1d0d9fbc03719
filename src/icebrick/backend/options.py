"""What an operator says about a storage medium besides the location."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from icebrick.errors import UsageError

_MOST_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """The same for every medium; each takes what concerns it and refuses what it does not know."""

    values: Mapping[str, str] = field(default_factory=dict)
    """By restic's names for them, which begin with the scheme: `s3.region`, `sftp.args`."""
    ca_file: Path | None = None
    """PEM certificates that servers may be signed by, in place of the system's."""
    client_certificate: Path | None = None
    """PEM file with certificate and private key, for servers that ask for one."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where credentials are looked for, as restic does: AWS_ACCESS_KEY_ID, OS_AUTH_URL, RESTIC_REST_PASSWORD."""

    def of(self, scheme: str, known: Collection[str]) -> dict[str, str]:
        """The values for one scheme, by what follows its dot. UsageError for a name that is not `known`."""
        found: dict[str, str] = {}
        for name, value in self.values.items():
            family, _, key = name.partition(".")
            if family != scheme:
                continue
            if key not in known:
                names = ", ".join(f"{scheme}.{each}" for each in sorted(known)) or "none"
                raise UsageError(f"unknown option {name}", hint=f"Known for {scheme}: {names}.")
            found[key] = value
        return found


def connections_of(values: Mapping[str, str], default: int) -> int:
    """What the option `connections` of a medium says."""
    text = values.get("connections", str(default))
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_CONNECTIONS:
        raise UsageError(f"connections must be a number from 1 to {_MOST_CONNECTIONS}, not {text}")
    return int(text)
