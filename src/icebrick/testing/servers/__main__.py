"""Start one of the servers by hand: python -m icebrick.testing.servers NAME; it ends with Ctrl-C or its terminal."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from icebrick.testing.servers import pyftpd, rclone, seaweedfs, sshd, swift, tls, vsftpd
from icebrick.testing.servers.server import Place, StorageServer


@contextmanager
def _swift(folder: Path) -> Iterator[StorageServer]:
    with swift.serving(folder) as server:
        yield server.swift


@contextmanager
def _swift_s3(folder: Path) -> Iterator[StorageServer]:
    with swift.serving(folder) as server:
        yield server.s3


SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[StorageServer]]] = {
    "sftp": sshd.serving,
    "ftp": vsftpd.serving,
    "ftps": lambda folder: vsftpd.serving(folder, tls.make_certificates(folder / "tls")),
    "pyftpd": pyftpd.serving,
    "rest": rclone.serving_rest,
    "rest-tls": lambda folder: rclone.serving_rest(folder, tls.make_certificates(folder / "tls")),
    "s3": seaweedfs.serving,
    "s3-tls": lambda folder: seaweedfs.serving(folder, tls.make_certificates(folder / "tls")),
    "swift": _swift,
    "swift-s3": _swift_s3,
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in SERVERS:
        sys.stderr.write(f"usage: python -m icebrick.testing.servers {'|'.join(SERVERS)}\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)  # the FTP server's user must get through
        with SERVERS[arguments[0]](Path(folder) / "server") as server:
            sys.stdout.write(commands(server.place("repository")))
            sys.stdout.flush()
            signal.pause()
    return 0


def commands(place: Place) -> str:
    """For a shell: how Icebrick gets there, and how restic does."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in place.options.environment.items()]
    lines.append(f"export RESTIC_REPOSITORY={shlex.quote(place.text)}")
    lines.append(shlex.join(["icebrick", *place.arguments, "init"]))
    program = place.restic("restic", "")
    lines.append(shlex.join(["restic", *program.options, "-r", str(program.repository), "snapshots"]))
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
