"""The first and only program of the guest: makes what the kernel leaves out, and serves until the host is gone."""

from __future__ import annotations

import errno
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
    serve(_open_port(), Files(Mounted()))


def _open_port() -> int:
    """The way to the host. The kernel makes it in its own time, and its name before it can be opened."""
    while True:
        for name in os.listdir("/dev"):
            if name.startswith("vport"):
                try:
                    return os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC)
                except OSError as error:
                    if error.errno != errno.ENXIO:
                        raise
        time.sleep(0.005)


if __name__ == "__main__":
    main()
