"""The first and only program of the guest: makes what the kernel leaves out, and serves until the host is gone."""

from __future__ import annotations

import os
import resource
import time

from icebrick.microvm.guest.files import Files
from icebrick.microvm.guest.mounts import Mounted, load_modules, mount
from icebrick.microvm.guest.serving import serve

_OPEN_FILES = 1 << 18


def main() -> None:
    mount("proc", "/proc", "proc")
    mount("devtmpfs", "/dev", "devtmpfs")
    load_modules("start")
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    serve(os.open(_port(), os.O_RDWR | os.O_CLOEXEC), Files(Mounted()))


def _port() -> str:
    """The device that leads to the host; the kernel finds it in its own time."""
    while True:
        for name in os.listdir("/dev"):
            if name.startswith("vport"):
                return f"/dev/{name}"
        time.sleep(0.005)


if __name__ == "__main__":
    main()
