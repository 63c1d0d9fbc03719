"""OpenSSH: SFTP, for the user the tests run as, with a key made for the occasion."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.testing.servers.processes import HOST, Program, need_program
from icebrick.testing.servers.server import Place, StorageServer, reserved_ports, running

ALIAS = "icebrick-test"
"""What the client's configuration calls the server."""

_SERVER = """\
Port {port}
ListenAddress {host}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
MaxStartups 50
MaxSessions 50
UseDNS no
Subsystem sftp /usr/lib/openssh/sftp-server
"""
_CLIENT = """\
Host {alias}
  HostName {host}
  Port {port}
  User {user}
  IdentityFile {folder}/id
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking yes
"""


@contextmanager
def serving(folder: Path) -> Iterator[StorageServer]:
    """Files are in `folder`/files, its client's configuration is `folder`/ssh_config."""
    (folder / "files").mkdir(parents=True)
    with reserved_ports(1) as (port,):
        _write(folder, port)
        program = Program("sshd", [need_program("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")], port)
        with running([program], folder, lambda name: _place(folder, name)) as server:
            yield server


def _write(folder: Path, port: int) -> None:
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    values = {"folder": folder, "host": HOST, "port": port, "user": getpass.getuser(), "alias": ALIAS}
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(_SERVER.format(**values))
    (folder / "ssh_config").write_text(_CLIENT.format(**values))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # it insists, for the processes it drops its rights in


def _place(folder: Path, name: str) -> Place:
    path = folder / "files" / name
    config = folder / "ssh_config"
    return Place(
        Location("sftp", f"{ALIAS}:{path}"),
        BackendOptions({"sftp.config": str(config)}),
        folder=path,
        restic_arguments=("-o", f"sftp.command=ssh -F {config} {ALIAS} -s sftp"),
    )
