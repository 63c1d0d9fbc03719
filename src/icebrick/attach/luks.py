"""LUKS containers as they lie on a device: whether there is one, which passphrase opens it, and another in its place.

None of it needs dm-crypt. Passphrases go to cryptsetup through pipes: they are in no argument, environment or file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from icebrick.blockdev import BlockSource, BlockTarget
from icebrick.errors import AttachError
from icebrick.secret import Secret

_MAGIC = b"LUKS\xba\xbe"
"""<https://gitlab.com/cryptsetup/cryptsetup/-/wikis/LUKS-standard/on-disk-format.pdf>; both versions begin with it."""
_HEADER = 16 << 20
"""Bytes at the beginning in which either version has its headers and key slots, where cryptsetup chose the size."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 300
"""A header says itself how long a passphrase takes to check, which is a second where cryptsetup made it."""
_NO_SUCH_KEY = 2


def has_header(source: BlockSource) -> bool:
    """Whether the device holds a LUKS container of either version."""
    start = bytearray(len(_MAGIC))
    source.read_into(0, memoryview(start))
    return start == _MAGIC


def wipe_header(target: BlockTarget) -> None:
    """So that nothing on the device passes for a container; of what is in one, nothing can be read any more."""
    zeros = bytes(1 << 20)
    for offset in range(0, min(_HEADER, target.size), len(zeros)):
        target.write(offset, zeros[: target.size - offset])
    target.flush()


def opens_with(device: str, passphrase: Secret) -> bool:
    """Whether the passphrase opens the container on the device. AttachError when that cannot be told."""
    with _told(passphrase) as (descriptor,):
        arguments = ["open", "--test-passphrase", f"--key-file=/dev/fd/{descriptor}", device]
        return _run(arguments, (descriptor,), accept=(0, _NO_SUCH_KEY)) == 0


def change_passphrase(device: str, old: Secret, new: Secret) -> None:
    """What `old` opens, from now on `new` opens instead. The data stay as they are."""
    with _told(old, new) as (old_file, new_file):
        arguments = ["luksChangeKey", "--batch-mode", f"--key-file=/dev/fd/{old_file}", device, f"/dev/fd/{new_file}"]
        _run(arguments, (old_file, new_file))


def close_mapping(name: str) -> None:
    """Take a decrypted device away; not there is no error. AttachError while it is in use."""
    if os.path.exists(f"/dev/mapper/{name}"):
        _run(["close", name], ())


@contextmanager
def _told(*passphrases: Secret) -> Iterator[tuple[int, ...]]:
    """Descriptors to read them from, once."""
    descriptors: list[int] = []
    try:
        for passphrase in passphrases:
            read, write = os.pipe()
            descriptors.append(read)
            with os.fdopen(write, "wb") as pipe:  # far less than a pipe holds
                pipe.write(passphrase.reveal().encode())
        yield tuple(descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _run(arguments: list[str], descriptors: tuple[int, ...], *, accept: tuple[int, ...] = (0,)) -> int:
    program = shutil.which("cryptsetup", path=_PATH)
    if program is None:
        raise AttachError(
            "the program cryptsetup is not installed", hint="Debian has it in the package cryptsetup-bin."
        )
    try:
        ended = subprocess.run(
            [program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
            timeout=_SECONDS,
            pass_fds=descriptors,
        )
    except subprocess.TimeoutExpired as error:
        raise AttachError(f"cryptsetup {arguments[0]} did not end within {_SECONDS} seconds") from error
    if ended.returncode not in accept:
        words = " ".join(os.fsdecode(ended.stderr).split())[-500:]
        raise AttachError(f"cryptsetup {arguments[0]} failed with code {ended.returncode}: {words}")
    return ended.returncode
