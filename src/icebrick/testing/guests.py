"""Guests without a virtual machine: one that serves a folder of this host, and one that says what a test wants."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from icebrick.microvm import wire
from icebrick.microvm.channel import Channel, Patience
from icebrick.microvm.guest.files import Files
from icebrick.microvm.guest.mounts import Mounted
from icebrick.microvm.guest.serving import serve

Peer = Callable[[socket.socket], None]


class _Folder(Mounted):
    """As if it were mounted."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def mount(self, disk: int, file_system: str) -> int:
        return os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextmanager
def serving(folder: Path, patience: Patience | None = None) -> Iterator[Channel]:
    """The guest's own program, in a thread; what it mounts is the folder."""

    def peer(connection: socket.socket) -> None:
        serve(connection.fileno(), Files(_Folder(folder)))

    with talking_to(peer, patience) as channel:
        yield channel


@contextmanager
def talking_to(peer: Peer, patience: Patience | None = None) -> Iterator[Channel]:
    """A channel whose other end `peer` has, in a thread that ends when the block does: its reads find the end then."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        with theirs, suppress(OSError):  # we are gone, in the middle of its answer
            peer(theirs)

    thread = threading.Thread(target=run, name="guest")
    with ours:
        thread.start()
        try:
            yield Channel(ours, patience)
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            thread.join()


def answering(bodies: Mapping[int, bytes | Iterator[bytes]]) -> Peer:
    """A guest that answers each operation with its body, or the next of them; it ends when it has none."""

    def peer(connection: socket.socket) -> None:
        while True:
            number, operation, _ = read_question(connection)
            body = bodies.get(operation)
            if not isinstance(body, bytes):
                body = next(body or iter(()), None)
            if body is None:
                return
            connection.sendall(wire.HEADER.pack(len(body), number, wire.DONE) + body)

    return peer


def read_question(connection: socket.socket) -> tuple[int, int, bytes]:
    """Number, operation and body; ConnectionError when nobody asks any more."""
    header = connection.recv(wire.HEADER.size, socket.MSG_WAITALL)
    if len(header) < wire.HEADER.size:
        raise ConnectionAbortedError
    length, number, operation = wire.HEADER.unpack(header)
    return number, operation, connection.recv(length, socket.MSG_WAITALL) if length else b""
