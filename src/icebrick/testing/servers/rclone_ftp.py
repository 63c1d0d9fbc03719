"""rclone between a client and an FTP server."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from urllib.parse import urlsplit

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.testing.servers.processes import need_program
from icebrick.testing.servers.server import Place


def through_rclone(place: Place) -> Place:
    """The same place on an FTP server, reached by rclone; for restic too, which has no FTP of its own."""
    parts = urlsplit(f"ftp:{place.location.address}")
    command = [need_program("rclone"), "obscure", parts.password or ""]
    password = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    server = f"host={parts.hostname},port={parts.port},user={parts.username},pass={password}"
    location = Location("rclone", f":ftp,{server}:{parts.path.lstrip('/')}")
    return replace(place, location=location, options=BackendOptions(environment={"RCLONE_CONFIG": "/dev/null"}))
