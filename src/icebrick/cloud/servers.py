"""What workflows may ask of a compute service: which servers have a volume, and to let go of it and take it again.

Methods return when the service has done it, or raise; callers never poll. All raise CloudUnavailableError when
OpenStack does not answer, AccessForbiddenError when this user may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ServerAttachment:
    """How a server has a volume."""

    server_id: str
    volume_id: str
    device: str | None = None
    """Its name in the server, as the compute service thinks; what the server itself says may differ."""
    tag: str | None = None
    delete_on_termination: bool = False
    """Whether the volume goes when the server is deleted."""


class Servers(Protocol):
    """The servers that one login sees."""

    def attachments(self, volume_id: str) -> Sequence[ServerAttachment]:
        """One for each server that has the volume. ResourceMissingError when a server is not visible."""

    def detach(self, server_id: str, volume_id: str) -> None:
        """Neither the compute service nor Cinder knows of it on return; was so already: no error.

        UnexpectedStateError when the server keeps it: its root volume, a locked server, an operating system in it that
        does not let go.
        """

    def attach(self, wanted: ServerAttachment) -> ServerAttachment:
        """The server has it on return, as the result says; had it already: no error.

        Under the wanted name of the device if that is free. ResourceMissingError when server or volume are gone,
        UnexpectedStateError when it cannot be attached, and for a server of another project than the volume's: who
        wrote the wish may have fewer rights than this login.
        """
