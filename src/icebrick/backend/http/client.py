"""Requests to storage over HTTP: one attempt each, and every failure as one of our errors.

The only module that knows the HTTP library. Redirects are never followed: they could lead credentials to another host.
"""

from __future__ import annotations

import base64
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from icebrick.backend.http.proxies import proxy_of
from icebrick.backend.http.status import Answer, number_of
from icebrick.backend.options import BackendOptions
from icebrick.blockdev import Data
from icebrick.errors import BackendError, BackendUnavailableError, ShortReadError, UsageError

CONNECTIONS = 5
"""Calls at once to media over a network, as in restic."""
CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 120.0
"""Longest silence within one request; also the time a server may take to make durable what it was sent."""
MOST_BYTES = 1 << 30
"""In an answer: many times what a file of a repository has. Else a server could take all memory there is."""
CA_HINT = "Name the certificate authority that signed the server's certificate with --cacert."

_KEPT = 64  # idle connections; how many are used at once is bounded elsewhere
_WORDS = 1 << 16  # bytes kept of an answer that is no file
# What no other attempt will change: the other side wants another certificate than ours, or speaks no TLS.
_TLS_FINAL = re.compile(r"WRONG_VERSION_NUMBER|HTTP_REQUEST|ALERT_(UNKNOWN_CA|BAD_CERT|HANDSHAKE|CERT)|CERTIFICATE_REQ")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How a server is reached. Certificates as in `BackendOptions`; seconds; proxies are found in `environment`."""

    ca_file: Path | None
    client_certificate: Path | None
    environment: Mapping[str, str]
    connections: int = CONNECTIONS
    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS


@dataclass(frozen=True, slots=True)
class Request:
    """`doing` completes "cannot ...", with the file's name and the location, without secrets."""

    method: str
    url: str
    doing: str
    body: Data | None = None


class HttpClient:
    """Connections to servers, for any number of threads."""

    def __init__(self, settings: HttpSettings) -> None:
        self.connections = settings.connections
        self._settings = settings
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()  # guards _pools

    def send(self, request: Request, headers: Mapping[str, str], *, at_most: int = MOST_BYTES) -> Answer:
        """The whole answer, whatever its status.

        BackendUnavailableError when none comes, ShortReadError when it breaks off, BackendError when the server's
        certificate is not to be trusted or a good answer has more than `at_most` bytes.
        """
        with translated(request.doing):
            response = self._pool(request.url).urlopen(
                request.method,
                request.url,
                body=None if request.body is None else memoryview(request.body).cast("B"),
                headers={"Accept-Encoding": "identity", "User-Agent": "icebrick", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                body = _body(response, request, at_most)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        return Answer(response.status, response.headers, body)

    def close(self) -> None:
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_of(url, self._settings.environment)
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = _new_pool(self._settings, proxy)
            return self._pools[proxy]


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """The HTTP library's errors become ours."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"cannot {doing}: the address is no URL") from error
    except (HTTPError, OSError) as error:
        raise connection_error(error, doing) from error


def connection_error(error: Exception, doing: str) -> BackendError:
    """Our error for one of a library's that has the system's behind it."""
    if _cause(error, ssl.SSLError) is not None:
        return _tls_error(error, doing)
    if _cause(error, IncompleteRead) is not None:
        return ShortReadError(f"cannot {doing}: the answer breaks off")
    return BackendUnavailableError(f"cannot {doing}: {_reason(error)}")


def basic_authorization(user: str, password: str) -> str:
    """The header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def split_login(url: str) -> tuple[str, str | None, str | None]:
    """The URL without user and password, and these, None when they are not in it. UsageError for what is no URL."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - looked at only when it is asked for
    except ValueError as error:
        raise UsageError(f"the address of a server is no URL: {str(error).lower()}") from None
    login, at, host = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    return (
        parts._replace(netloc=host).geturl(),
        unquote(user) if at else None,
        unquote(password) if colon else None,
    )


def http_settings(options: BackendOptions, connections: int = CONNECTIONS) -> HttpSettings:
    """What the operator says of servers."""
    return HttpSettings(options.ca_file, options.client_certificate, options.environment, connections)


def _new_pool(settings: HttpSettings, proxy: str | None) -> urllib3.PoolManager:
    context = _tls(settings)
    common: dict[str, Any] = {
        "num_pools": 4,
        "maxsize": _KEPT,
        "timeout": urllib3.Timeout(connect=settings.connect_seconds, read=settings.answer_seconds),
        "ssl_context": context,
    }
    if proxy is None:
        return urllib3.PoolManager(**common)
    address, user, password = split_login(proxy if "//" in proxy else f"http://{proxy}")
    headers = {} if user is None else {"proxy-authorization": basic_authorization(user, password or "")}
    return urllib3.ProxyManager(address, proxy_headers=headers, proxy_ssl_context=context, **common)


def _tls(settings: HttpSettings) -> ssl.SSLContext:
    context = urllib3.util.create_urllib3_context()
    try:
        if settings.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(settings.ca_file)
        if settings.client_certificate is not None:
            # An empty password, as else the library asks for one on the terminal.
            context.load_cert_chain(settings.client_certificate, password="")
    except OSError as error:  # of which TLS errors are a kind
        files = " or ".join(str(one) for one in (settings.ca_file, settings.client_certificate) if one is not None)
        hint = "PEM files are needed; a client certificate together with its key, without a password."
        raise UsageError(f"cannot take certificates from {files}: {_reason(error)}", hint=hint) from error
    return context


def _body(response: urllib3.BaseHTTPResponse, request: Request, at_most: int) -> bytes:
    if request.method != "GET" or response.status >= 300:
        body = response.read(_WORDS)
        if len(body) == _WORDS:
            response.close()  # what is left of it must not come before the next answer
        return body
    length = number_of(response.headers.get("Content-Length"))
    if length is None and response.headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise BackendError(f"cannot {request.doing}: the server does not tell how long its answer is")
    body = b"" if length is not None and length > at_most else response.read(at_most + 1 if length is None else None)
    if max(length or 0, len(body)) > at_most:
        raise BackendError(f"cannot {request.doing}: the server sends more than the {at_most} bytes asked for")
    return body


def _tls_error(error: Exception, doing: str) -> BackendError:
    """A certificate that is not to be trusted stays so; a handshake that broke off may not."""
    message = f"cannot {doing}: {_reason(error)}"
    if _cause(error, ssl.SSLCertVerificationError) is not None:
        return BackendError(message, hint=CA_HINT)
    if _TLS_FINAL.search(str(error)):
        hint = "Check that the server speaks TLS there, and whether it wants a client certificate (--tls-client-cert)."
        return BackendError(message, hint=hint)
    return BackendUnavailableError(message)


def _cause(error: BaseException, kind: type[Exception]) -> Exception | None:
    """The error of this kind that is behind `error`."""
    return next((each for each in _chain(error) if isinstance(each, kind)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that libraries have wrapped in it, one in another."""
    current: BaseException | None = error
    while current is not None:
        yield current
        inner = getattr(current, "reason", None) or next(
            (each for each in current.args if isinstance(each, Exception)), None
        )
        current = inner if isinstance(inner, BaseException) else current.__cause__ or current.__context__


def _reason(error: BaseException) -> str:
    """The system's own words: those of libraries hold addresses of objects."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the server's certificate is not to be trusted: {each.verify_message}"
        if isinstance(each, ssl.SSLError):
            return f"TLS failed: {each.reason}"
        if isinstance(each, TimeoutError):
            return "the server does not answer"
        if isinstance(each, OSError) and each.strerror:
            return each.strerror.lower()
    return "the connection broke"
