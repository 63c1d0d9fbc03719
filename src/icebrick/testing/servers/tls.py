"""A certificate authority for servers on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: of the authority, and of a server on 127.0.0.1 with its key."""

    authority: Path
    server: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """A new authority, and one server certificate of it."""
    import trustme  # noqa: PLC0415 - only where servers speak TLS

    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(made.authority))
    for number, part in enumerate(server.cert_chain_pems):
        part.write_to_path(str(made.server), append=number > 0)
    made.key.touch(mode=0o600)
    server.private_key_pem.write_to_path(str(made.key))
    return made
