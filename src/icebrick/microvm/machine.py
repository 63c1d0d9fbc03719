"""A guest that runs as long as its block, and never longer than this process."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from icebrick.errors import ReaderError
from icebrick.microvm import wire
from icebrick.microvm.channel import Channel, GuestRefusal, Patience
from icebrick.microvm.image import Image
from icebrick.microvm.qemu import Accelerator, Hardware, Limits, command
from icebrick.parallel import Stop

_CONSOLE_KEPT = 20000
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}


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
        with theirs, open(image.kernel, "rb") as kernel, open(image.files, "rb") as files:
            hardware = Hardware(
                kernel.fileno(), files.fileno(), theirs.fileno(), disks, accelerator, limits or Limits()
            )
            process = ending.enter_context(_running(hardware))
        console = _Console(process)
        channel = Channel(ours, patience, console.last_words, stop)
        _greet(channel)
        yield channel


def _greet(channel: Channel) -> None:
    try:
        answer = channel.ask(wire.HELLO).answer()
    except GuestRefusal as refusal:
        raise ReaderError(f"the virtual machine does not serve: reason {refusal.reason}") from refusal
    if answer != wire.NUMBER.pack(wire.VERSION):
        raise channel.give_up("is of another version")


@contextmanager
def _running(hardware: Hardware) -> Iterator[subprocess.Popen[bytes]]:
    """In a folder of its own, that goes with it. What it prints, and what the guest's kernel does, goes into a pipe."""
    arguments = command(hardware)
    with tempfile.TemporaryDirectory(prefix="icebrick-reader-", dir="/var/tmp") as folder:
        os.chmod(folder, 0o700)
        for argument in arguments:
            if argument.startswith("--reuid="):
                user = int(argument.partition("=")[2])
                os.chown(folder, user, user)
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=hardware.descriptors,
            env={**_ENVIRONMENT, "TMPDIR": folder},
            cwd=folder,
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
        """In one line, without control characters."""
        said = b""
        while more := self._more():
            said = (said + more)[-_CONSOLE_KEPT:]
        text = said.decode("ascii", "replace").replace("\ufffd", "?")
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())

    def _more(self) -> bytes:
        try:
            return os.read(self._fd, 1 << 16)
        except OSError:
            return b""
