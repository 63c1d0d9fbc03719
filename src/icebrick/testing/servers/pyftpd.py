"""pyftpdlib: another FTP server than vsftpd, which lists for machines (MLSD)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebrick.backend.location import Location
from icebrick.testing.servers.processes import HOST, Program
from icebrick.testing.servers.server import Place, StorageServer, reserved_ports, running

_SCRIPT = Path(__file__).with_name("pyftpd_server.py")


@contextmanager
def serving(folder: Path) -> Iterator[StorageServer]:
    """FTP, for a user with a password."""
    files = folder / "files"
    files.mkdir(parents=True)
    with reserved_ports(1) as (port,):
        program = Program("pyftpd", [sys.executable, "-I", str(_SCRIPT), str(port), str(files)], port)

        def place(name: str) -> Place:
            return Place(Location("ftp", f"//user:secret@{HOST}:{port}/{name}"), folder=files / name)

        with running([program], folder, place) as server:
            yield server
