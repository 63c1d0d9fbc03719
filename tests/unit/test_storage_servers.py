"""The processes of storage servers: started again on their port, killed with all they began, never left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.testing.servers.__main__ import commands, main
from icebrick.testing.servers.environment import REQUIREMENTS
from icebrick.testing.servers.processes import HOST, Process, Program, ServerError, answers, reserve_port
from icebrick.testing.servers.server import Place, StorageServer, reserved_ports, running

SERVER = """
import os, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
with open("child", "w") as file:
    file.write(str(child.pid))
while True:
    connection, _ = listener.accept()
    connection.close()
"""
"""It starts another process, in a session of its own, before it serves: well, a moment after."""


def program(port: int) -> Program:
    return Program("server", [sys.executable, "-I", "-S", "-c", SERVER, str(port)], port)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[StorageServer, int]]:
    with reserved_ports(1) as (port,), running([program(port)], folder, pytest.fail) as server:
        yield server, port


def child(folder: Path) -> int:
    """The process that the server has started, a handle for it."""
    while not (text := (folder / "child").read_text() if (folder / "child").exists() else ""):
        pass
    return os.pidfd_open(int(text))


def wait_ended(handle: int) -> None:
    """Returns when the process has ended; pytest's own timeout says when it does not."""
    assert select.select([handle], [], [], 30)[0]
    os.close(handle)


def test_a_server_answers_in_its_block_and_not_after_it(tmp_path: Path) -> None:
    with served(tmp_path) as (_, port):
        assert answers(port)
    assert not answers(port)


def test_a_killed_server_serves_again_on_its_port(tmp_path: Path) -> None:
    with served(tmp_path) as (server, port):
        server.kill()
        assert not answers(port)
        server.restart()
        assert answers(port)


def test_what_a_server_has_started_is_killed_with_it(tmp_path: Path) -> None:
    with served(tmp_path) as (server, _):
        started = child(tmp_path)
        server.kill()
    wait_ended(started)


def test_nothing_of_a_server_survives_when_its_owner_is_killed(tmp_path: Path) -> None:
    script = f"""
    import os, signal, sys
    from pathlib import Path
    from icebrick.testing.servers.processes import Process, Program
    process = Process(Program("server", {list(program(0).command)!r}, 0), Path({str(tmp_path)!r}))
    process.start()
    while not Path({str(tmp_path)!r}, "child").exists():
        pass
    os.kill(os.getpid(), signal.SIGKILL)
    """
    owner = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert owner.returncode == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        wait_ended(child(tmp_path))


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    failing = Program("server", ["sh", "-c", "echo no such thing; exit 3"], 1)
    with pytest.raises(ServerError, match="no such thing"), running([failing], tmp_path, Place):
        pytest.fail("it runs")


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match="no-such-program"),
        running([Program("server", ["no-such-program"], 1)], tmp_path, Place),
    ):
        pytest.fail("it runs")


def test_a_server_that_ends_when_asked_is_not_waited_for(tmp_path: Path) -> None:
    with served(tmp_path) as (server, port):
        server.stop()
        assert not answers(port)


def test_a_process_that_was_never_started_can_be_killed(tmp_path: Path) -> None:
    process = Process(program(1), tmp_path)
    process.kill()
    process.wait_ended()
    assert not process.runs


def test_a_reserved_port_is_not_connected_to_or_given_away() -> None:
    with reserve_port() as holder:
        port = holder.getsockname()[1]
        assert not answers(port)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, port))


def test_a_server_started_by_hand_tells_how_it_is_reached(tmp_path: Path) -> None:
    options = BackendOptions(
        {"s3.region": "here"}, ca_file=tmp_path / "ca.pem", environment={"AWS_ACCESS_KEY_ID": "a b"}
    )
    place = Place(Location("s3", "https://host/bucket"), options)
    assert commands(place).splitlines() == [
        "export AWS_ACCESS_KEY_ID='a b'",
        "export RESTIC_REPOSITORY=s3:https://host/bucket",
        f"icebrick -o s3.region=here --cacert {tmp_path}/ca.pem init",
        f"restic --cacert {tmp_path}/ca.pem -r s3:https://host/bucket snapshots",
    ]


def test_a_server_that_nobody_knows_cannot_be_started_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teletype"]) == 2
    assert "sftp|ftp" in capsys.readouterr().err


def test_every_package_of_the_servers_has_one_version_and_no_address() -> None:
    for line in REQUIREMENTS.read_text().splitlines():
        name, _, version = line.partition("==")
        assert name and version and not set(line) & set("/:@ ")
