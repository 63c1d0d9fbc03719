"""Block devices for tests, made of files. Needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def loop_device(backing: Path, *, read_only: bool = False) -> Iterator[str]:
    """The path of a block device whose content is the file's; its size is the file's, in whole sectors of 512 bytes."""
    flags = ["--read-only"] if read_only else []
    made = subprocess.run(
        ["losetup", "--find", "--show", *flags, str(backing)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield made
    finally:
        subprocess.run(["losetup", "--detach", made], check=True)
