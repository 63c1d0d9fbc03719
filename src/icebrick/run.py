"""The identity of one execution, carried by everything it makes in the cloud or on the host."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime

RUN_KEY = "icebrick-run"
HOST_KEY = "icebrick-host"
SAFETY_KEY = "icebrick-safety"
"""In the metadata of a volume snapshot: the id of the run that took it before it wrote to the volume itself."""
COLD_PREFIX = "icebrick-cold-"
"""Of the metadata in which a volume that is backed up cold says which servers it belongs to."""

_MARK = re.compile(rf"{RUN_KEY}=(\S+) {HOST_KEY}=(\S*)(?: (.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a command on one host."""

    id: str
    host: str

    @property
    def tags(self) -> dict[str, str]:
        """Metadata that marks a cloud resource as this run's."""
        return {RUN_KEY: self.id, HOST_KEY: self.host}

    @property
    def mark(self) -> str:
        """The same in a name or description, for what cannot have metadata: at its beginning."""
        return f"{RUN_KEY}={self.id} {HOST_KEY}={self.host}"


def find_mark(text: str) -> tuple[Run, str] | None:
    """The run whose mark a name or description begins with, and what follows it; None without a mark."""
    marked = _MARK.fullmatch(text)
    return (Run(marked[1], marked[2]), marked[3] or "") if marked else None


def new_run(now: datetime) -> Run:
    """A run of this host; ids sort by time: 20261123T061500Z-1f2e3d4c."""
    return Run(f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}", socket.gethostname())
