"""A repository on an FTP server.

ftp://[user[:password]@]host[:port]/path     below the directory one is in after logging in
ftps://[user[:password]@]host[:port]//path   two slashes: an absolute path; TLS is begun with AUTH TLS

The password may also be in FTP_PASSWORD or in ~/.netrc.
"""

from __future__ import annotations

import ftplib
import netrc
import posixpath
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from icebrick.backend import layout
from icebrick.backend.base import Backend
from icebrick.backend.ftp.session import FTP_ERRORS, FtpSession, TlsFtp, translation
from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions, connections_of
from icebrick.backend.sessions import SessionPool
from icebrick.backend.tree import TreeBackend
from icebrick.errors import AccessDeniedError, UsageError
from icebrick.secret import Secret

CONNECTIONS = 4

_TIMEOUT = 120.0
"""Seconds one answer may take: a slow disk may take its time to store a pack."""
_CONNECT_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class FtpServer:
    """How to reach a repository. A relative `root` begins where one is after logging in."""

    host: str
    root: str
    port: int
    user: str
    password: Secret
    tls: ssl.SSLContext | None = None
    connections: int = CONNECTIONS

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def open_ftp(location: Location, options: BackendOptions) -> Backend:
    """For ftp: and ftps:. UsageError for an address that cannot be meant. Connects with the first call."""
    server = server_of(location, options)
    pool = SessionPool(lambda: _connect(server))
    return TreeBackend(str(location), pool, connections=server.connections, temp_mark=layout.TEMP_MARK)


def server_of(location: Location, options: BackendOptions) -> FtpServer:
    """What location, options and environment say together."""
    given = options.of(location.scheme, ("connections",))
    try:
        parts = urlsplit(f"{location.scheme}:{location.address}")
        port = parts.port or ftplib.FTP_PORT
    except ValueError:
        raise _not_a_location(location) from None
    path = unquote(parts.path)[1:] + (f"?{parts.query}" if parts.query else "")
    user = unquote(parts.username or "anonymous")
    if not parts.hostname or not path or any(ord(letter) < ord(" ") for letter in user + path):
        raise _not_a_location(location)
    password = unquote(parts.password) if parts.password else options.environment.get("FTP_PASSWORD")
    return FtpServer(
        host=parts.hostname,
        root=posixpath.normpath(path),
        port=port,
        user=user,
        password=Secret(_from_netrc(parts.hostname, user, options) if password is None else password),
        tls=_tls(options) if location.scheme == "ftps" else None,
        connections=connections_of(given, CONNECTIONS),
    )


def _not_a_location(location: Location) -> UsageError:
    return UsageError(
        f"not the location of a repository on an FTP server: {location}",
        hint=f"Write {location.scheme}://user@host:port/path, and the password into FTP_PASSWORD.",
    )


def _from_netrc(host: str, user: str, options: BackendOptions) -> str:
    """The password there; none is found where there is none, and logging in will tell."""
    home = options.environment.get("HOME")
    path = Path(options.environment.get("NETRC") or f"{home}/.netrc")
    try:
        found = netrc.netrc(str(path)).authenticators(host) if home and path.is_file() else None
    except (OSError, netrc.NetrcParseError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    return found[2] or "" if found and found[0] == user else ""


def _tls(options: BackendOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.client_certificate is not None:
            context.load_cert_chain(options.client_certificate, password="")
    except OSError as error:  # of which TLS errors are a kind
        raise UsageError(
            f"cannot take certificates from {options.client_certificate or options.ca_file}: {error}",
            hint="PEM files are needed; a client certificate together with its key, without a password.",
        ) from error
    # Later versions give sessions after the handshake only, when data connections may have begun without.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def _connect(server: FtpServer) -> FtpSession:
    # Without TLS for networks that the operator trusts: so the location says.
    ftp = TlsFtp(context=server.tls) if server.tls else ftplib.FTP()  # noqa: S321
    try:
        ftp.connect(server.host, server.port, _CONNECT_TIMEOUT)
        ftp.login(server.user, server.password.reveal())
        if isinstance(ftp, TlsFtp):
            ftp.prot_p()
        ftp.voidcmd("TYPE I")
        root = posixpath.normpath(posixpath.join(ftp.pwd() or "/", server.root))
        assert ftp.sock is not None
        ftp.timeout = _TIMEOUT  # of data connections
        ftp.sock.settimeout(_TIMEOUT)
    except FTP_ERRORS as error:
        ftp.close()
        translated = translation(error, f"cannot connect to {server}")
        if isinstance(translated, AccessDeniedError):
            translated.hint = "Check the user, and the password in the location, FTP_PASSWORD or ~/.netrc."
        raise translated from error
    except BaseException:
        ftp.close()
        raise
    return FtpSession(ftp, root, str(server))
