"""The real Nova passes the contract, and what a volume goes through in it is as we say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from tests.integration.compute import Compute

from icebrick.cloud.base import VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.servers import ServerAttachment
from icebrick.cloud.session import connect
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault
from icebrick.errors import UnexpectedStateError, UsageError
from icebrick.testing.servers_contract import ServersContract


@pytest.fixture
def cloud(compute_devcloud: Devcloud, compute_login: CinderCloud, server: str, root: str) -> Iterator[CinderCloud]:
    """At the end all volumes but the root go."""
    yield compute_login
    compute_devcloud.set_faults()
    for volume in compute_login.volumes():
        if volume.id != root:
            compute_login.servers().detach(server, volume.id)
            compute_login.delete_volume(volume.id)


@pytest.fixture
def admin(compute_devcloud: Devcloud) -> Iterator[CinderCloud]:
    with closing(connect("backup")) as administrator:
        yield administrator


@pytest.fixture
def lock(compute: Compute) -> Callable[[str, bool], None]:
    def set_lock(server_id: str, locked: bool) -> None:
        compute.act(server_id, "lock" if locked else "unlock")

    return set_lock


class TestNovaServers(ServersContract):
    """Of one server, which is running."""


def test_a_server_on_no_host_gives_its_volume_and_takes_it_again(
    cloud: CinderCloud, compute: Compute, server: str
) -> None:
    data = cloud.create_volume(VolumeSpec("data", 1))
    given = cloud.servers().attach(ServerAttachment(server, data.id))
    compute.shelve(server)
    try:
        assert cloud.get_volume(data.id).status == "reserved"
        assert cloud.servers().attach(given) == given
        cloud.servers().detach(server, data.id)
        assert cloud.get_volume(data.id).status == "available"
        assert cloud.servers().attach(given).server_id == server  # it gets its device on its host
    finally:
        compute.unshelve(server)
    assert [one.device for one in cloud.servers().attachments(data.id)] == [given.device]
    assert cloud.get_volume(data.id).status == "in-use"


def test_a_volume_that_its_back_end_cannot_connect_is_told_and_stays_free(
    compute_devcloud: Devcloud, cloud: CinderCloud, server: str
) -> None:
    data = cloud.create_volume(VolumeSpec("data", 1))
    compute_devcloud.set_faults(Fault("initialize_connection"))
    with pytest.raises(UnexpectedStateError, match="Nova gave up"):
        cloud.servers().attach(ServerAttachment(server, data.id))
    assert cloud.get_volume(data.id).status == "available"


def test_a_cloud_without_a_compute_service_is_told(devcloud: Devcloud) -> None:
    with closing(connect("alice")) as cloud, pytest.raises(UsageError, match="compute"):
        cloud.servers()


def test_servers_have_their_volumes_after_nova_was_killed_and_started_again(
    compute_devcloud: Devcloud, cloud: CinderCloud, server: str
) -> None:
    data = cloud.create_volume(VolumeSpec("data", 1))
    given = cloud.servers().attach(ServerAttachment(server, data.id))
    compute_devcloud.stop("nova", kill=True)
    assert not compute_devcloud.status().running
    compute_devcloud.up(owned=True)
    assert list(cloud.servers().attachments(data.id)) == [given]
    cloud.servers().detach(server, data.id)
    assert cloud.get_volume(data.id).status == "available"
