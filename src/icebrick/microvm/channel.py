"""Questions to a guest and its answers. Whoever waits for an answer receives for all others, too.

The guest is believed nothing: what it says is bounded before memory is taken for it, and one that breaks the rules,
says nothing for too long or is gone is dead from then on. Then every question ends with a ReaderError.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from icebrick.errors import ReaderError
from icebrick.microvm import wire
from icebrick.parallel import Stop

_UNDER_WAY = 32
"""Questions that may wait for an answer together."""
_BYTES_UNDER_WAY = 64 << 10
"""Less than what a socket takes, so asking never waits for a guest that does not read because nobody reads of it."""
_SOCKET_BUFFER = 1 << 20
_LOOKING_UP = 1.0
"""Seconds after which who waits looks whether the run is to end."""


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: how long one answer may take, and how long all of it."""

    answer: float = 300
    total: float = 24 * 3600


class GuestRefusal(Exception):
    """The guest could not do it; `reason` is an errno or one of the wire's reasons."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


class Question:
    """Something asked. The answer may be looked at from any thread."""

    def __init__(self, channel: Channel, size: int) -> None:
        self._channel, self.size = channel, size
        self.kind: int | None = None
        self.body = b""

    def answer(self) -> bytes:
        """Waits for it. GuestRefusal; ReaderError when there will be none."""
        self._channel.wait(self)
        if self.kind == wire.DONE:
            return self.body
        if len(self.body) != wire.NUMBER.size:
            raise self._channel.give_up("gave a reason that is none")
        raise GuestRefusal(wire.NUMBER.unpack(self.body)[0])


class Channel:
    """One connection to a guest; `explain` tells what is known about its end. Interrupted when the run is to end."""

    def __init__(
        self,
        connection: socket.socket,
        patience: Patience | None = None,
        explain: Callable[[], str] = str,
        stop: Stop | None = None,
    ) -> None:
        self._connection, self._patience, self._explain = connection, patience or Patience(), explain
        self._stop = stop or Stop()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._ends = time.monotonic() + self._patience.total
        self._changed = threading.Condition()  # guards all below
        self._waiting: deque[Question] = deque()
        self._bytes = 0
        self._asked = self._answered = 0
        self._receiving = False
        self._dead: str | None = None

    def ask(self, operation: int, body: bytes = b"") -> Question:
        """Answers come in the order of the questions. ReaderError when the guest is dead."""
        question = Question(self, wire.HEADER.size + len(body))
        with self._changed:
            while self._is_full(question):
                self._receive_one()
            if self._dead is not None:
                raise ReaderError(self._dead)
            self._waiting.append(question)
            self._bytes += question.size
            message = wire.HEADER.pack(len(body), self._asked & 0xFFFFFFFF, operation) + body
            self._asked += 1
            try:
                self._connection.settimeout(self._patience.answer)
                self._connection.sendall(message)
            except OSError as error:
                raise self._die(f"cannot be asked any more ({error.strerror or 'it does not listen'})") from error
        return question

    def let_go(self, handle: int) -> None:
        """The guest need not keep this open any more; one that is dead does not."""
        with suppress(ReaderError):
            self.ask(wire.CLOSE, wire.NUMBER.pack(handle))

    def wait(self, question: Question) -> None:
        """Return when it is answered; ReaderError when it will not be."""
        with self._changed:
            while question.kind is None:
                if self._dead is not None:
                    raise ReaderError(self._dead)
                self._receive_one()

    def give_up(self, what: str) -> ReaderError:
        """The guest broke the rules: `what` it did, as a verb. The error is to be raised."""
        with self._changed:
            return self._die(what)

    def _is_full(self, question: Question) -> bool:
        if self._dead is not None or not self._waiting:
            return False
        return len(self._waiting) >= _UNDER_WAY or self._bytes + question.size > _BYTES_UNDER_WAY

    def _receive_one(self) -> None:
        """Something has changed on return. Holds the lock, but not while it waits."""
        if self._receiving:
            self._changed.wait()
            return
        self._receiving = True
        self._changed.release()
        failure: str | None = "was left in the middle of an answer"
        kind, body = wire.FAILED, b""
        try:
            kind, body = self._receive()
            failure = None
        except _Broken as broken:
            failure = str(broken)
        finally:
            self._changed.acquire()
            self._receiving = False
            self._changed.notify_all()
            if failure is not None:
                self._die(failure)
        if failure is not None:
            return
        question = self._waiting.popleft()
        self._bytes -= question.size
        question.kind, question.body = kind, body

    def _receive(self) -> tuple[int, bytes]:
        deadline = min(time.monotonic() + self._patience.answer, self._ends)
        header = self._read(wire.HEADER.size, deadline)
        length, number, kind = wire.HEADER.unpack(header)
        if number != self._answered & 0xFFFFFFFF or kind not in (wire.DONE, wire.FAILED):
            raise _Broken("gave an answer that nobody asked for")
        if length > wire.MAX_ANSWER:
            raise _Broken(f"gave an answer of {length} bytes")
        self._answered += 1
        return kind, self._read(length, deadline)

    def _read(self, length: int, deadline: float) -> bytes:
        buffer = bytearray(length)
        view = memoryview(buffer)
        while view:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise _Broken(self._too_slow())
            try:
                self._connection.settimeout(min(remaining, _LOOKING_UP))
                count = self._connection.recv_into(view)
            except TimeoutError:
                self._stop.check()
                continue
            except ConnectionResetError:
                count = 0
            except OSError as error:
                raise _Broken(f"cannot be heard any more ({error.strerror})") from error
            if not count:
                raise _Broken("ended")
            view = view[count:]
        return bytes(buffer)

    def _too_slow(self) -> str:
        if time.monotonic() >= self._ends:
            return f"was not ready within {self._patience.total:.0f} seconds"
        return f"did not answer within {self._patience.answer:.0f} seconds"

    def _die(self, what: str) -> ReaderError:
        if self._dead is None:
            explanation = self._explain()
            self._dead = f"the virtual machine that reads the file system {what}"
            if explanation:
                self._dead += f": {explanation}"
            self._changed.notify_all()
        return ReaderError(self._dead)


class _Broken(Exception):
    """What the guest did, as a verb."""
