"""A whole volume out and back through every medium, whose server is killed in the middle of each and started again."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator

import pytest
from tests.integration.agent import MIB, Agent, Tenant, digest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.wrap.log import LogBackend
from icebrick.blockdev import Data
from icebrick.testing.servers.rclone_ftp import through_rclone
from icebrick.testing.servers.server import Place, StorageServer

DEAD_SECONDS = 0.5
MEDIA = {
    "sftp": "sftp_server",
    "ftp": "ftp_server",
    "ftps": "ftps_server",
    "rest": "rest_server",
    "rclone": "ftp_server",
    "s3": "s3_server",
    "swift": "swift_server",
}
"""By medium, its server's fixture; rclone is the program between us and FTP."""

_numbers = itertools.count()


class Outage:
    """Kills the server when packs are saved or loaded, and starts it again."""

    def __init__(self, server: StorageServer) -> None:
        self._server = server
        self._due: str | None = None
        self._thread = threading.Thread()
        self._left = 0
        self._lock = threading.Lock()  # guards _due and _left

    def plan(self, operation: str) -> None:
        """At the second pack for which this is done from now on."""
        with self._lock:
            self._due = operation
            self._left = 2

    def note(self, operation: str, handle: Handle) -> None:
        with self._lock:
            if operation != self._due or handle.type is not FileType.PACK:
                return
            self._left -= 1
            if self._left:
                return
            self._due = None
        self._thread = threading.Thread(target=self._strike)
        self._thread.start()

    def _strike(self) -> None:
        self._server.kill()
        time.sleep(DEAD_SECONDS)
        self._server.restart()

    def happened(self) -> bool:
        """Whether the planned one did; the server serves again."""
        if self._thread.ident is not None:
            self._thread.join()
        return self._due is None


@pytest.fixture
def medium(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Outage]]:
    """An empty place, and what can happen to its server."""
    server: StorageServer = request.getfixturevalue(MEDIA[request.param])
    place = server.place(f"volume-{next(_numbers)}")
    outage = Outage(server)

    class Noting(LogBackend):
        def save(self, handle: Handle, data: Data) -> None:
            outage.note("save", handle)
            super().save(handle, data)

        def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
            outage.note("load", handle)
            return super().load(handle, offset=offset, length=length)

    monkeypatch.setattr("icebrick.app.LogBackend", Noting)
    yield through_rclone(place) if request.param == "rclone" else place, outage
    outage.happened()


def enter(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let commands go there; the arguments that are needed besides."""
    monkeypatch.setenv("RESTIC_REPOSITORY", place.text)
    for name, value in place.options.environment.items():
        monkeypatch.setenv(name, value)
    arguments = [text for name, value in place.options.values.items() for text in ("-o", f"{name}={value}")]
    return arguments if place.options.ca_file is None else [*arguments, "--cacert", str(place.options.ca_file)]


@pytest.mark.parametrize("medium", MEDIA, indirect=True)
def test_a_volume_goes_out_and_comes_back_though_the_server_is_killed_in_the_middle_of_both(
    medium: tuple[Place, Outage],
    agent: Agent,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place, outage = medium
    options = enter(place, monkeypatch)
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(48 * MIB), 512 * MIB: os.urandom(16 * MIB)})
    before = digest(tenant.file(volume))
    agent.succeed(*options, "init")

    outage.plan("save")
    agent.succeed(*options, "backup", "--single-volume-id", volume)
    assert outage.happened()

    tenant.remove(volume)
    outage.plan("load")
    report = agent.succeed(
        *options, "restore", "--json", "--recreate-vol-on-error", "--single-volume-id", volume
    ).record()
    assert outage.happened()
    (restored,) = report["restores"]
    assert digest(tenant.file(tenant.adopt(restored["volume_id"]))) == before
    assert agent.succeed(*options, "check").out.endswith("no problems\n")
