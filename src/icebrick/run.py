"""The identity of one execution, carried by everything it makes in the cloud or on the host."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from datetime import datetime

RUN_KEY = "icebrick-run"
HOST_KEY = "icebrick-host"


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a command on one host."""

    id: str
    host: str

    @property
    def tags(self) -> dict[str, str]:
        """Metadata that marks a cloud resource as this run's."""
        return {RUN_KEY: self.id, HOST_KEY: self.host}


def new_run(now: datetime) -> Run:
    """A run of this host; ids sort by time: 20261123T061500Z-1f2e3d4c."""
    return Run(f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}", socket.gethostname())
