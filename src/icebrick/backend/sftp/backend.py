"""A repository on an SFTP server.

sftp:[user@]host:path             the host may be an alias in ~/.ssh/config
sftp://[user@]host[:port]/path    below the directory one is in after logging in; with two slashes an absolute path

Keys, agents, known_hosts and ssh_config are those of OpenSSH.
"""

from __future__ import annotations

import os
import posixpath
import re
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncssh

from icebrick.backend import layout
from icebrick.backend.base import Backend
from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions, connections_of
from icebrick.backend.sessions import SessionPool, reason
from icebrick.backend.sftp.eventloop import EventLoop
from icebrick.backend.sftp.link import SftpLink
from icebrick.backend.sftp.session import SftpSession
from icebrick.backend.tree import TreeBackend
from icebrick.errors import AccessDeniedError, BackendError, BackendUnavailableError, IcebrickError, UsageError
from icebrick.secret import Secret

CONNECTIONS = 5

_FILES = ("config", "identity", "known-hosts")
_NO_SSH = ("args", "command")

_SCP_LIKE = re.compile(r"(?:([^@/]*)@)?(\[[^]/]+\]|[^:/@]+):(.*)", re.DOTALL)

_IDENTITY_HINT = (
    "The server takes none of the keys; 'ssh-add -l' lists those of the agent, where one with a passphrase must be. "
    "-o sftp.identity=FILE names another one."
)

# What is fast: AES is an instruction on servers.
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"


@dataclass(frozen=True, slots=True)
class SftpServer:
    """How to reach a repository. None means what OpenSSH's own files say. Times are in seconds."""

    host: str
    root: str
    user: str | None = None
    port: int | None = None
    password: Secret | None = None
    config: Path | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    patience: float = 120.0
    """So long a request may stay without an answer: a slow disk may take its time to sync."""
    connections: int = CONNECTIONS
    keepalive: float = 15.0
    """How often a silent server is asked whether it lives; after three questions it does not."""

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


def open_sftp(location: Location, options: BackendOptions) -> Backend:
    """UsageError for an address or an option that cannot be meant. Connects with the first call."""
    return SftpBackend(str(location), server_of(location, options))


class SftpBackend(TreeBackend[SftpSession]):
    """Files as restic's own SFTP backend names and places them."""

    pack_directories = True

    def __init__(self, location: str, server: SftpServer) -> None:
        self._server = server
        self._loop = EventLoop("sftp")
        pool = SessionPool(self._connect)
        super().__init__(location, pool, connections=server.connections, temp_mark=layout.SFTP_TEMP_MARK)

    def close(self) -> None:
        super().close()
        self._loop.close()

    def _connect(self) -> SftpSession:
        return SftpSession(self._loop, self._loop.run(_connect(self._server)), str(self._server))


async def _connect(server: SftpServer) -> SftpLink:
    try:
        connection = await asyncssh.connect(server.host, **_arguments(server))
        try:
            client = await connection.start_sftp_client(path_errors="surrogateescape")
        except BaseException:
            connection.abort()
            raise
    except (asyncssh.Error, OSError, ValueError) as error:
        raise _refusal(server, error) from error
    return SftpLink(connection, client, server.root, patience=server.patience)


def _arguments(server: SftpServer) -> dict[str, Any]:
    given: dict[str, Any] = {
        "port": server.port,
        "username": server.user,
        "password": server.password and server.password.reveal(),
        "config": server.config and [str(server.config)],
        "client_keys": server.identity and [str(server.identity)],
    }
    arguments = {name: value for name, value in given.items() if value is not None}
    settled = asyncssh.SSHClientConnectionOptions(host=server.host, **arguments)
    if not settled.config.get("Ciphers"):
        arguments["encryption_algs"] = _CIPHERS
    return arguments | {
        "known_hosts": _known_hosts(server, settled),
        "connect_timeout": 20,
        "login_timeout": 20,
        "keepalive_interval": server.keepalive,
        "x11_forwarding": False,
        "agent_forwarding": False,
    }


def _known_hosts(server: SftpServer, settled: asyncssh.SSHClientConnectionOptions) -> list[str] | bytes:
    """Files with keys of hosts; no bytes for none, by which every host is refused."""
    if server.known_hosts:
        return [str(server.known_hosts)]
    usual = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts"]
    # An empty list is what is configured by default; None stands for "none", by which asyncssh would trust anyone.
    files = usual if settled.known_hosts == [] else settled.known_hosts or []
    assert isinstance(files, list)
    return [path for path in map(os.path.expanduser, files) if os.access(path, os.R_OK)] or b""


def _refusal(server: SftpServer, error: Exception) -> IcebrickError:
    """What keeps us from connecting, as an error of ours."""
    message = f"cannot connect to {server}: {reason(error)}"
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return AccessDeniedError(message, hint=_key_hint(server))
        case asyncssh.PermissionDenied():
            return AccessDeniedError(message, hint=_IDENTITY_HINT)
        case asyncssh.ChannelOpenError(code=asyncssh.OPEN_REQUEST_SESSION_FAILED):
            return BackendError(message, hint="The server must offer SFTP: Subsystem sftp in its sshd_config.")
        case asyncssh.KeyExchangeFailed() | asyncssh.ProtocolNotSupported():
            return BackendError(message)
        case socket.gaierror(errno=socket.EAI_NONAME):
            return BackendError(message, hint="Check the name of the host.")
        case asyncssh.Error():
            return BackendUnavailableError(message)
        case OSError(filename=None):
            return BackendUnavailableError(message)
        case _:  # a file of ours: a key with a passphrase, a ssh_config that says nothing
            return UsageError(message)


def _key_hint(server: SftpServer) -> str:
    port = f"-p {server.port} " if server.port else ""
    file = server.known_hosts or "~/.ssh/known_hosts"
    return (
        f"Ask the server's administrator for its key, or take it on trust: ssh-keyscan {port}{server.host} >> {file}. "
        "If the host was known, it has a new key, or this is not the host."
    )


def server_of(location: Location, options: BackendOptions) -> SftpServer:
    """What location, options and environment say together."""
    given = options.of("sftp", ("connections", *_FILES, *_NO_SSH))
    for name in _NO_SSH:
        if name in given:
            raise UsageError(
                f"sftp.{name} is for the ssh program, which is not used",
                hint="Write it into ssh_config, which is read: ~/.ssh/config, or the file named by sftp.config.",
            )
    files = {name: _file(f"sftp.{name}", given[name]) for name in _FILES if name in given}
    password = options.environment.get("SFTP_PASSWORD")
    server = _parsed(location)
    return replace(
        server,
        password=server.password or (Secret(password) if password else None),
        config=files.get("config"),
        identity=files.get("identity"),
        known_hosts=files.get("known-hosts"),
        connections=connections_of(given, CONNECTIONS),
    )


def _file(option: str, text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"{option}: {path} is not a file")
    return path


def _parsed(location: Location) -> SftpServer:
    example = "Write sftp:user@host:/path or sftp://user@host:port//path."
    server = _url(location) if location.address.startswith("//") else _scp_like(location.address)
    if server is None or server.host[:1] in {"", "-"} or not server.root or "\n" in server.root + server.host:
        raise UsageError(f"not the location of a repository on an SFTP server: {location}", hint=example)
    if server.root.startswith("~"):
        raise UsageError(
            f"the path {server.root} begins with a tilde, which servers do not know",
            hint="A path without a slash in front begins where one is after logging in.",
        )
    return server


def _scp_like(address: str) -> SftpServer | None:
    match = _SCP_LIKE.fullmatch(address)
    if match is None:
        return None
    user, host, path = match.groups()
    return SftpServer(host.strip("[]"), _normal(path), user=user or None)


def _url(location: Location) -> SftpServer | None:
    try:
        parts = urlsplit("sftp:" + location.address)
        port = parts.port
    except ValueError:
        return None
    password = Secret(unquote(parts.password)) if parts.password else None
    user = unquote(parts.username) if parts.username else None
    path = unquote(parts.path)[1:] + (f"?{parts.query}" if parts.query else "")
    return SftpServer(parts.hostname or "", _normal(path), user=user, port=port, password=password)


def _normal(path: str) -> str:
    """Without a slash at the end, dots or empty parts; "" for no path at all."""
    return posixpath.normpath(path) if path else ""
