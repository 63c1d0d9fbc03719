"""Reads requests from a descriptor and writes the answers to it, one by one."""

from __future__ import annotations

import errno
import os

from icebrick.microvm import wire
from icebrick.microvm.guest.files import Files
from icebrick.microvm.guest.refusal import Refused


def serve(channel: int, files: Files) -> None:
    """Until the other side is gone."""
    while header := _read(channel, wire.HEADER.size):
        length, number, operation = wire.HEADER.unpack(header)
        body = _read(channel, length)
        try:
            kind, answer = wire.DONE, files.answer(operation, body)
        except OSError as error:
            kind, answer = wire.FAILED, wire.NUMBER.pack(error.errno or errno.EIO)
        except Refused as refusal:
            kind, answer = wire.FAILED, wire.NUMBER.pack(refusal.reason)
        _write(channel, wire.HEADER.pack(len(answer), number, kind) + answer)


def _read(channel: int, length: int) -> bytes:
    """Exactly so many bytes; none when there will be no more."""
    found = b""
    while len(found) < length:
        more = os.read(channel, length - len(found))
        if not more:
            return b""
        found += more
    return found


def _write(channel: int, message: bytes) -> None:
    view = memoryview(message)
    while view:
        view = view[os.write(channel, view) :]
