"""Fixtures: a storage server of each kind, one a session (a worker, with xdist)."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icebrick.backend.location import Location
from icebrick.devcloud.processes import process_id, this_process
from icebrick.devcloud.record import ProcessId
from icebrick.testing.servers import pyftpd, rclone, seaweedfs, sshd, swift, tls, vsftpd
from icebrick.testing.servers.environment import VARIABLE, find_in_environment
from icebrick.testing.servers.processes import find_program
from icebrick.testing.servers.server import Place, StorageServer
from icebrick.testing.servers.swift import SwiftServer

FOLDER = Path("/var/tmp")

Require = Callable[[str, Any, str], None]


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Where this session's servers have their files; those of sessions that were killed are removed first.

    Not below pytest's own folder: the FTP server's user must be able to pass through.
    """
    this = this_process()
    for folder in FOLDER.glob("icebrick-servers-*-*"):
        pid, started = folder.name.split("-")[-2:]
        if process_id(int(pid)) != ProcessId(int(pid), int(started)):
            shutil.rmtree(folder, ignore_errors=True)
    folder = FOLDER / f"icebrick-servers-{this.pid}-{this.started}"
    folder.mkdir()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def certificates(server_folder: Path) -> tls.Certificates:
    return tls.make_certificates(server_folder / "tls")


@pytest.fixture(scope="session")
def local_disk(server_folder: Path) -> StorageServer:
    """A directory: `restart` and `kill` do nothing."""
    folder = server_folder / "local"
    return StorageServer([], lambda name: Place(Location("local", str(folder / name)), folder=folder / name))


@pytest.fixture(scope="session")
def sftp_server(require: Require, server_folder: Path) -> Iterator[StorageServer]:
    """OpenSSH."""
    require("sshd", find_program("sshd"), "no OpenSSH server")
    with sshd.serving(server_folder / "sshd") as server:
        yield server


@pytest.fixture(scope="session")
def vsftpd_installed(require: Require) -> None:
    require("vsftpd", find_program("vsftpd"), "no vsftpd")
    require("vsftpd", os.geteuid() == 0, "vsftpd needs root")
    require("vsftpd", any(user.pw_name == vsftpd.USER for user in pwd.getpwall()), f"no user {vsftpd.USER}")


@pytest.fixture(scope="session")
def ftp_server(vsftpd_installed: None, server_folder: Path) -> Iterator[StorageServer]:
    """vsftpd."""
    with vsftpd.serving(server_folder / "vsftpd") as server:
        yield server


@pytest.fixture(scope="session")
def ftps_server(vsftpd_installed: None, server_folder: Path, certificates: tls.Certificates) -> Iterator[StorageServer]:
    """vsftpd that speaks TLS only, and wants one session for control and data."""
    with vsftpd.serving(server_folder / "vsftpd-tls", certificates) as server:
        yield server


@pytest.fixture(scope="session")
def pyftpd_server(server_folder: Path) -> Iterator[StorageServer]:
    """pyftpdlib, for FTP."""
    with pyftpd.serving(server_folder / "pyftpd") as server:
        yield server


@pytest.fixture(scope="session")
def rclone_installed(require: Require) -> None:
    require("rclone", find_program("rclone"), "no rclone on the PATH")


@pytest.fixture(scope="session")
def rest_server(rclone_installed: None, server_folder: Path, certificates: tls.Certificates) -> Iterator[StorageServer]:
    """rclone, with restic's REST protocol over HTTPS."""
    with rclone.serving_rest(server_folder / "rest", certificates) as server:
        yield server


@pytest.fixture(scope="session")
def plain_rest_server(rclone_installed: None, server_folder: Path) -> Iterator[StorageServer]:
    """The same over HTTP."""
    with rclone.serving_rest(server_folder / "plain-rest") as server:
        yield server


@pytest.fixture(scope="session")
def append_only_server(rclone_installed: None, server_folder: Path) -> Iterator[StorageServer]:
    """The same, for files that may be added, and of which only locks may be removed."""
    with rclone.serving_rest(server_folder / "append-only", append_only=True) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_folder(rclone_installed: None, server_folder: Path) -> Iterator[StorageServer]:
    """Places that rclone reaches without any server."""
    with rclone.serving_folder(server_folder / "rclone") as server:
        yield server


@pytest.fixture(scope="session")
def swift_installed(require: Require) -> None:
    require("swift", find_in_environment("swift-proxy-server"), f"{VARIABLE} names no environment with Swift")
    require("swift", find_program("memcached"), "Swift needs memcached")


@pytest.fixture(scope="session")
def both_swift_servers(swift_installed: None, server_folder: Path) -> Iterator[SwiftServer]:
    with swift.serving(server_folder / "swift") as server:
        yield server


@pytest.fixture(scope="session")
def swift_server(both_swift_servers: SwiftServer) -> StorageServer:
    """Swift, with log-ins of its own."""
    return both_swift_servers.swift


@pytest.fixture(scope="session")
def swift_s3_server(both_swift_servers: SwiftServer) -> StorageServer:
    """The same, by S3."""
    return both_swift_servers.s3


@pytest.fixture(scope="session")
def s3_server(require: Require, server_folder: Path, certificates: tls.Certificates) -> Iterator[StorageServer]:
    """SeaweedFS, over HTTPS."""
    require("seaweedfs", find_in_environment(seaweedfs.PROGRAM), f"{VARIABLE} names no environment with SeaweedFS")
    with seaweedfs.serving(server_folder / "seaweedfs", certificates) as server:
        yield server
