"""A guest that runs as long as its block, and never longer than this process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from icebrick.errors import ReaderError
from icebrick.microvm import wire
from icebrick.microvm.channel import Channel, GuestRefusal, Patience
from icebrick.microvm.image import Image
from icebrick.microvm.qemu import Accelerator, Hardware, Limits, command
from icebrick.parallel import Stop

_CONSOLE_KEPT = 64 << 10
_TOLD = 400
_STEERING = re.compile(r"\x1b(?:c|\[[0-9;?]*[A-Za-z])")
_ENVIRONMENT = {
    "PATH": os.defpath,
    "LC_ALL": "C.UTF-8",
    "TMPDIR": "/var/tmp",  # noqa: S108 - QEMU gives the file there a name that nobody guesses, and takes it away again
    "MALLOC_ARENA_MAX": "1",  # or each thread would take address space, which is limited
}


@contextmanager
def started(
    image: Image,
    disks: Sequence[int],
    accelerator: Accelerator = Accelerator.TCG,
    limits: Limits | None = None,
    patience: Patience | None = None,
    *,
    stop: Stop | None = None,
) -> Iterator[Channel]:
    """A channel to a guest with these disks, which stay the caller's and are not written.

    ReaderError when it does not start.
    """
    with ExitStack() as ending:
        ours, theirs = socket.socketpair()
        ending.enter_context(ours)
        with theirs, _opened(image.kernel) as kernel, _opened(image.files) as files:
            hardware = Hardware(
                kernel.fileno(), files.fileno(), theirs.fileno(), disks, accelerator, limits or Limits()
            )
            process = ending.enter_context(_running(hardware))
        console = _Console(process)
        channel = Channel(ours, patience, console.last_words, stop)
        _greet(channel)
        yield channel


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ReaderError(f"cannot read {path}: {error.strerror}", hint="'icebrick reader build' makes it.") from error


def _greet(channel: Channel) -> None:
    try:
        answer = channel.ask(wire.HELLO).answer()
    except GuestRefusal as refusal:
        raise ReaderError(f"the virtual machine does not serve: reason {refusal.reason}") from refusal
    if answer != wire.NUMBER.pack(wire.VERSION):
        raise channel.give_up("is of another version")


@contextmanager
def _running(hardware: Hardware) -> Iterator[subprocess.Popen[bytes]]:
    """What it prints, and what the guest's kernel does, goes into a pipe."""
    process = subprocess.Popen(
        command(hardware),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=hardware.descriptors,
        env=_ENVIRONMENT,
        cwd="/",
        start_new_session=True,  # an interrupt at the terminal is for us, and we end it
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


class _Console:
    """What was printed last; nobody reads it but for an error, and a full pipe is no harm."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None, "it is a pipe"
        self._fd = process.stdout.fileno()
        os.set_blocking(self._fd, False)

    def last_words(self) -> str:
        """In one line, without control characters, and without what a kernel says about its own inside."""
        said = b""
        while more := self._more():
            said = (said + more)[-_CONSOLE_KEPT:]
        text = _STEERING.sub("", said.decode("ascii", "replace")).replace("\ufffd", "?").partition("Call Trace:")[0]
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[-_TOLD:]

    def _more(self) -> bytes:
        try:
            return os.read(self._fd, 1 << 16)
        except OSError:
            return b""
