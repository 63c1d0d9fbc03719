"""The fake servers pass the contract of the real ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from icebrick.cloud.base import VolumeSpec
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakerecords import SERVICE
from icebrick.testing.fakeservers import start_server
from icebrick.testing.servers_contract import ServersContract


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def admin(cloud: FakeCloud) -> FakeCloud:
    return FakeCloud(cloud.records, SERVICE, admin=True)


@pytest.fixture
def root(cloud: FakeCloud) -> str:
    return cloud.create_volume(VolumeSpec("root", 1)).id


@pytest.fixture
def server(cloud: FakeCloud, root: str) -> str:
    return start_server(cloud.records, root).id


@pytest.fixture
def lock(cloud: FakeCloud) -> Callable[[str, bool], None]:
    def set_lock(server_id: str, locked: bool) -> None:
        cloud.records.servers[server_id].locked = locked

    return set_lock


class TestFakeServers(ServersContract):
    """Without waiting."""
