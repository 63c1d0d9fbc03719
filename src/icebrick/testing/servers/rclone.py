"""rclone: as a server of restic's REST protocol, and as the program between Icebrick and a medium that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.testing.servers.processes import HOST, Program, need_program
from icebrick.testing.servers.server import Place, StorageServer, reserved_ports, running
from icebrick.testing.servers.tls import Certificates

_NO_CONFIGURATION = {"RCLONE_CONFIG": "/dev/null"}


@contextmanager
def serving_rest(
    folder: Path, certificates: Certificates | None = None, *, append_only: bool = False
) -> Iterator[StorageServer]:
    """restic's REST protocol, over HTTPS with certificates, else over HTTP."""
    files = folder / "files"
    files.mkdir(parents=True)
    with reserved_ports(1) as (port,):
        command = [need_program("rclone"), "serve", "restic", "--addr", f"{HOST}:{port}", str(files)]
        if append_only:
            command.append("--append-only")
        if certificates is not None:
            command += ["--cert", str(certificates.server), "--key", str(certificates.key)]
        environment = {**_NO_CONFIGURATION, "RCLONE_USER": "user", "RCLONE_PASS": "secret"}

        def place(name: str) -> Place:
            scheme = "https" if certificates else "http"
            options = BackendOptions(ca_file=certificates.authority if certificates else None)
            location = Location("rest", f"{scheme}://user:secret@{HOST}:{port}/{name}/")
            return Place(location, options, folder=files / name)

        with running([Program("rclone", command, port, environment)], folder, place) as server:
            yield server


@contextmanager
def serving_folder(folder: Path) -> Iterator[StorageServer]:
    """Places that rclone reaches without any server: `restart` and `kill` do nothing."""
    folder.mkdir(parents=True)

    def place(name: str) -> Place:
        options = BackendOptions(environment=_NO_CONFIGURATION)
        return Place(Location("rclone", f":local:{folder / name}"), options, folder=folder / name)

    with running([], folder, place) as server:
        yield server
