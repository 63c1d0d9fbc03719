"""An HTTP proxy before a storage server that answers wrongly when it is told to.

    with HttpProxy(port) as proxy:
        proxy.spoil(status(503, {"Retry-After": "1"}), method="PUT", times=2)
        ...  # the client is given proxy.port

A fault is a function of an `Exchange`: it forwards the request or does not, and answers or does not.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

HOST = "127.0.0.1"
_OF_ONE_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server says."""

    code: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def with_length(self, length: int) -> Reply:
        """The same, claiming to be so long."""
        kept = [(name, value) for name, value in self.headers if name.lower() != "content-length"]
        return replace(self, headers=(*kept, ("Content-Length", str(length))))


class Exchange:
    """One request, and the ways to deal with it."""

    def __init__(self, handler: BaseHTTPRequestHandler, proxy: HttpProxy) -> None:
        self.method = handler.command
        self.path = handler.path
        self._handler = handler
        self._proxy = proxy
        self._body: bytes | None = None

    def receive(self, length: int | None = None) -> bytes:
        """The body, or as much of it."""
        told = int(self._handler.headers.get("Content-Length") or 0)
        if self._body is None:
            self._body = self._handler.rfile.read(told if length is None else min(length, told))
        return self._body

    def forward(self) -> Reply:
        """What the server says to it."""
        return self._proxy.ask(self.method, self.path, self._handler.headers.items(), self.receive())

    def send(self, reply: Reply, upto: int | None = None) -> None:
        """The reply; with `upto`, only so many bytes of its body."""
        handler = self._handler
        handler.send_response_only(reply.code)
        for name, value in reply.headers:
            if name.lower() not in _OF_ONE_HOP:
                handler.send_header(name, value)
        handler.end_headers()
        if self.method != "HEAD":
            handler.wfile.write(reply.body[:upto])
        handler.wfile.flush()

    def reset(self) -> None:
        """The connection breaks."""
        self._handler.close_connection = True
        with suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._handler.connection.close()

    def hang_up(self) -> None:
        """The connection ends in an orderly way."""
        self._handler.close_connection = True

    def hang(self) -> None:
        """Nothing is said any more, until the proxy closes."""
        self._proxy.closed.wait()
        self.hang_up()


Fault = Callable[[Exchange], None]


@dataclass(slots=True)
class _Rule:
    fault: Fault
    method: str | None
    path: re.Pattern[str]
    left: int


class HttpProxy:
    """Forwards to a port of this host; addresses in headers of answers are changed to lead through it too."""

    def __init__(self, port: int) -> None:
        self.met = 0
        """Requests spoiled so far."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of all there were."""
        self.closed = threading.Event()
        self._target = port
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()  # guards met, requests and _rules
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def spoil(self, fault: Fault, *, method: str | None = None, path: str = "", times: int = 1) -> None:
        """So many requests of this method (any) whose path has a match of the pattern."""
        with self._lock:
            self._rules.append(_Rule(fault, method, re.compile(path), times))

    def behave(self) -> None:
        """Spoil nothing from now on."""
        with self._lock:
            self._rules.clear()

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> HttpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def serve(self, exchange: Exchange) -> None:
        """Answer, or spoil it."""
        fault = self._due(exchange)
        try:
            if fault is None:
                exchange.send(exchange.forward())
            else:
                fault(exchange)
        except (OSError, HTTPException):  # either side is gone: so let the other know
            exchange.reset()

    def ask(self, method: str, path: str, headers: Any, body: bytes) -> Reply:
        """The server's own reply."""
        connection = HTTPConnection(HOST, self._target, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in _OF_ONE_HOP:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            there, here = f"{HOST}:{self._target}", f"{HOST}:{self.port}"
            told = [(name, value.replace(there, here)) for name, value in answer.getheaders()]
        finally:
            connection.close()
        reply = Reply(answer.status, told, content)
        return reply if method == "HEAD" or reply.code in {204, 304} else reply.with_length(len(content))

    def _due(self, exchange: Exchange) -> Fault | None:
        with self._lock:
            self.requests.append((exchange.method, exchange.path))
            for rule in self._rules:
                if rule.left and rule.method in {None, exchange.method} and rule.path.search(exchange.path):
                    rule.left -= 1
                    self.met += 1
                    return rule.fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proxy: HttpProxy) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(OSError, ValueError):  # the client has gone, or we have closed its connection
                    super().handle_one_request()
                    return
                self.close_connection = True

            def _serve(self) -> None:
                proxy.serve(Exchange(self, proxy))

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        super().__init__((HOST, 0), Handler)

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """That answer, without having asked the server."""

    def fault(exchange: Exchange) -> None:
        exchange.receive()
        exchange.send(Reply(code, [*(headers or {}).items()], body).with_length(len(body)))

    return fault


def reset_at_once(exchange: Exchange) -> None:
    """The request is not read."""
    exchange.reset()


def reset_in_upload(exchange: Exchange) -> None:
    """Half of the request's body is read."""
    exchange.receive(1 << 18)
    exchange.reset()


def lose_answer(exchange: Exchange) -> None:
    """The server does it all, and nobody is told."""
    exchange.forward()
    exchange.reset()


def reset_in_answer(exchange: Exchange) -> None:
    """Half of the answer's body comes."""
    reply = exchange.forward()
    exchange.send(reply, len(reply.body) // 2)
    exchange.reset()


def end_early(exchange: Exchange) -> None:
    """The same, with an orderly end: less than the length that was told."""
    reply = exchange.forward()
    exchange.send(reply, len(reply.body) // 2)
    exchange.hang_up()


def shorten(exchange: Exchange) -> None:
    """Half of the answer's body, told as if it were all."""
    reply = exchange.forward()
    half = reply.body[: len(reply.body) // 2]
    exchange.send(replace(reply, body=half).with_length(len(half)))


def flip(exchange: Exchange) -> None:
    """One bit of the answer's body differs."""
    reply = exchange.forward()
    middle = len(reply.body) // 2
    changed = reply.body[:middle] + bytes([reply.body[middle] ^ 1]) + reply.body[middle + 1 :] if reply.body else b""
    exchange.send(replace(reply, body=changed))


def page_instead(exchange: Exchange) -> None:
    """A friendly page, as of something between that wants a log-in."""
    exchange.forward()
    body = b"<html><body>Welcome to the guest network</body></html>"
    exchange.send(Reply(200, [("Content-Type", "text/html")], body).with_length(len(body)))


def hang(exchange: Exchange) -> None:
    """No answer."""
    exchange.hang()


class Stale:
    """Answers each request for the same path as it was answered first."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], Reply] = {}
        self._lock = threading.Lock()  # guards _first

    def __call__(self, exchange: Exchange) -> None:
        reply = exchange.forward()
        with self._lock:
            reply = self._first.setdefault((exchange.method, exchange.path), reply)
        exchange.send(reply)
