"""As `tests/integration`, but that volumes are LVM's and come over iSCSI, by two ways: for the laboratory's guest."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.agent import Agent, Tenant
from tests.integration.conftest import CinderApi, running, tidied

from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.lvm import device_of
from icebrick.devcloud.record import Settings

_FLUSH_BUFFERS = 0x1261  # BLKFLSBUF of <linux/fs.h>
_GUEST = {"host": "guest", "ip": "127.0.0.1", "initiator": "iqn.1993-08.org.debian:01:guest"}


@dataclass(frozen=True, slots=True)
class LvmTenant(Tenant):
    """Alice, and whoever is at the storage: it is written where it is stored, not over iSCSI."""

    def file(self, volume_id: str) -> Path:
        device = device_of(self.pool.parent, f"volume-{volume_id}")
        with device.open("rb") as file:
            fcntl.ioctl(file, _FLUSH_BUFFERS)  # what comes over iSCSI does not go through this host's page cache
        return device

    @contextmanager
    def device(self, volume_id: str, mode: str = "rw") -> Iterator[Path]:
        device = self.file(volume_id)
        yield device
        with device.open("rb") as file:
            os.fsync(file.fileno())

    def give_to_guest(self, volume_id: str) -> str:
        """Attach it to somebody else; the attachment's id."""
        status, made = self.api.request("POST", "/attachments", {"attachment": {"volume_uuid": volume_id}})
        assert status == 200, made
        path = f"/attachments/{made['attachment']['id']}"
        assert self.api.request("PUT", path, {"attachment": {"connector": _GUEST}})[0] == 200
        assert self.api.request("POST", f"{path}/action", {"os-complete": {}})[0] == 204
        return str(made["attachment"]["id"])


@pytest.fixture(scope="session")
def session_devcloud(devcloud_folder: Path, devcloud_environment: Path) -> Iterator[Devcloud]:
    with running(
        devcloud_folder / "lvm", devcloud_environment, Settings(storage="lvm", portals=2, compute=True)
    ) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def session_compute_devcloud(session_devcloud: Devcloud) -> Devcloud:
    """The same."""
    return session_devcloud


@pytest.fixture
def tenant(devcloud: Devcloud, login: Callable[[Devcloud, str], CinderApi]) -> Iterator[LvmTenant]:
    with tidied(LvmTenant(login(devcloud, "alice"), devcloud.layout.pool), devcloud) as alice:
        yield alice


@pytest.fixture
def agent(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """One that asks seldom: who asks and who is asked share one processor."""
    monkeypatch.setattr("icebrick.cloud.wait.Pace", lambda: Pace(first=0.2, longest=1, settle=2, attempts=2))
    return agent
