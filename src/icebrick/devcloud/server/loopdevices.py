"""Loop devices over volume files: the driver's way to show a volume to the host.

Programs inherit the lock that says that this devcloud is alive (close_fds=False): should the driver be killed,
`down` waits for them too.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path


def devices_of(path: Path) -> list[str]:
    """The loop devices over `path`, such as /dev/loop3."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # the device went while we looked
            if entry.read_text().rstrip("\n") == str(path):
                found.append(f"/dev/{entry.parts[3]}")
    return found


def is_readonly(device: str) -> bool:
    return Path("/sys/block", Path(device).name, "ro").read_text().strip() == "1"


def attach(path: Path, *, readonly: bool) -> str:
    """The loop device over `path` in this mode: the one that is there, or a new one."""
    for device in devices_of(path):
        if is_readonly(device) == readonly:
            return device
    mode = ["--read-only"] if readonly else []
    command = ["losetup", "--find", "--show", *mode, str(path)]
    return subprocess.run(command, check=True, capture_output=True, close_fds=False, text=True).stdout.strip()


def detach(path: Path, *, readonly: bool | None = None) -> None:
    """Remove the loop devices over `path`: those of one mode, or with None all."""
    for device in devices_of(path):
        if readonly is None or is_readonly(device) == readonly:
            subprocess.run(["losetup", "--detach", device], check=True, capture_output=True, close_fds=False)


def flush(path: Path) -> None:
    """Bring what was written to the loop devices over `path` into the file, as a storage array would have it."""
    for device in devices_of(path):
        descriptor = os.open(device, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def adopt_size(path: Path) -> None:
    """Let the loop devices over `path` see that it has grown."""
    for device in devices_of(path):
        subprocess.run(["losetup", "--set-capacity", device], check=True, capture_output=True, close_fds=False)
