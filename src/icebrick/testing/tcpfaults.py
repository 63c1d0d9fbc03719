"""A TCP proxy before a storage server that spoils connections when it is told to: for SFTP and FTP.

with TcpProxy(port) as proxy:
    proxy.spoil(Spoil.RESET, Way.UP, after=1 << 20)
    ...  # the client is given proxy.port
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

HOST = "127.0.0.1"
_PASSIVE = re.compile(rb"\((\d+,\d+,\d+,\d+),(\d+),(\d+)\)")


class Way(Enum):
    """Which bytes are counted."""

    UP = "up"
    DOWN = "down"


class Spoil(Enum):
    """What becomes of a connection."""

    RESET = "reset"  # both ends are told that it broke
    CLOSE = "close"  # an orderly end, in the middle
    STALL = "stall"  # nothing more goes either way, for good
    FLIP = "flip"  # one bit differs, and it goes on


@dataclass(slots=True)
class _Plan:
    spoil: Spoil
    way: Way
    after: int
    left: int
    gone: int = 0


class TcpProxy:
    """Forwards to a port of this host. With `ftp`, data connections of unencrypted FTP come through it too."""

    def __init__(self, port: int, *, ftp: bool = False) -> None:
        self.met = 0
        """Connections spoiled so far."""
        self._target = port
        self._ftp = ftp
        self._plan: _Plan | None = None
        self._lock = threading.Lock()  # guards met, _plan and _resources
        self._resources = ExitStack()
        self.port = self._listen(port)

    def spoil(self, spoil: Spoil, way: Way, *, after: int = 0, times: int = 1) -> None:
        """The connection by which more than `after` bytes have gone that way from now on; and so on, so many times."""
        with self._lock:
            self._plan = _Plan(spoil, way, after, times)

    def behave(self) -> None:
        """Spoil nothing from now on."""
        with self._lock:
            self._plan = None

    def close(self) -> None:
        with self._lock:
            self._resources.close()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self, target: int, *, once: bool = False) -> int:
        """The port of a new listener that forwards to `target`; of one connection, if `once`."""
        listener = socket.create_server((HOST, 0))
        port: int = listener.getsockname()[1]
        self._keep(listener)
        threading.Thread(target=self._accept, args=(listener, target, once), daemon=True).start()
        return port

    def _accept(self, listener: socket.socket, target: int, once: bool) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._keep(client)
                self._forward(client, target)
                if once:
                    _end(listener)
                    return

    def _forward(self, client: socket.socket, target: int) -> None:
        try:
            server = socket.create_connection((HOST, target), 5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        self._keep(server)
        for source, sink, way in ((client, server, Way.UP), (server, client, Way.DOWN)):
            threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: Way) -> None:
        try:
            while piece := source.recv(1 << 16):
                match self._due(way, len(piece)):
                    case Spoil.RESET:
                        _reset(source)
                        _reset(sink)
                        return
                    case Spoil.CLOSE:
                        _end(source)
                        _end(sink)
                        return
                    case Spoil.STALL:
                        return  # the other direction may still go; nobody answers, though
                    case Spoil.FLIP:
                        piece = _flipped(piece)
                sink.sendall(self._redirected(piece) if self._ftp and way is Way.DOWN else piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # one side has gone: the other would wait for it for good
            _reset(source)
            _reset(sink)

    def _due(self, way: Way, size: int) -> Spoil | None:
        with self._lock:
            plan = self._plan
            if plan is None or plan.way is not way or not plan.left:
                return None
            plan.gone += size
            if plan.gone <= plan.after:
                return None
            plan.gone = 0
            plan.left -= 1
            self.met += 1
            return plan.spoil

    def _redirected(self, piece: bytes) -> bytes:
        """With the port of a listener of ours where the server says to which port data shall go."""
        if not piece.startswith(b"227 "):
            return piece
        match = _PASSIVE.search(piece)
        if match is None:
            return piece
        port = self._listen(int(match[2]) * 256 + int(match[3]), once=True)
        return piece[: match.start()] + b"(%s,%d,%d)" % (match[1], port // 256, port % 256) + piece[match.end() :]

    def _keep(self, each: socket.socket) -> None:
        with self._lock:
            self._resources.callback(_end, each)


def _flipped(piece: bytes) -> bytes:
    middle = len(piece) // 2
    return piece[:middle] + bytes([piece[middle] ^ 1]) + piece[middle + 1 :]


def _end(each: socket.socket) -> None:
    """Wake who waits for it, and give it back."""
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def _reset(each: socket.socket) -> None:
    """The other side gets RST."""
    with suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.shutdown(socket.SHUT_RD)  # wakes the thread that reads it, without which closing would not be done
    each.close()
