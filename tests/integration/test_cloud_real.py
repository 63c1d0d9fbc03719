"""The real Cinder passes the contract, and fails as we say it does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from icebrick.attach.brick import BrickConnector, BrickSettings
from icebrick.blockdev import BlockSource
from icebrick.cloud.base import Mode, Volume, VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.leftovers import find_leftovers, remove_leftovers
from icebrick.cloud.session import connect
from icebrick.cloud.temporary import AttachingHost, attached, temporary_clone, temporary_snapshot
from icebrick.cloud.wait import Pace
from icebrick.connection import ConnectionInfo
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault
from icebrick.errors import AccessForbiddenError, CloudUnavailableError, UnexpectedStateError, UsageError
from icebrick.run import Run
from icebrick.testing.cloud_contract import CloudContract
from icebrick.testing.cloud_suite import GIB
from icebrick.testing.fakeconnector import FakeFormerHost
from icebrick.testing.group_contract import GroupContract
from icebrick.testing.project_contract import ProjectContract, Stick

PACE = Pace(first=0.15, longest=0.4, work=60, settle=1, attempts=1)
RUN = Run("20261123T061500Z-1f2e3d4c", "host1")


@pytest.fixture(scope="module")
def logins(session_devcloud: Devcloud) -> Iterator[dict[str, CinderCloud]]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(session_devcloud.clouds_yaml))
        users = ("alice", "bob", "rita", "backup")
        yield {user: stack.enter_context(closing(connect(user, pace=PACE))) for user in users}


@pytest.fixture
def cloud(devcloud: Devcloud, logins: dict[str, CinderCloud]) -> CinderCloud:
    return logins["alice"]


@pytest.fixture
def stranger(devcloud: Devcloud, logins: dict[str, CinderCloud]) -> CinderCloud:
    return logins["bob"]


@pytest.fixture
def admin(devcloud: Devcloud, logins: dict[str, CinderCloud]) -> CinderCloud:
    return logins["backup"]


@pytest.fixture
def stick(devcloud: Devcloud, login: Callable[[Devcloud, str], Any]) -> Stick:
    """By an administrator's hand: what a back end leaves that dies in the middle of its work."""
    actions = {
        "volume": ("volumes", "os-reset_status"),
        "volume snapshot": ("snapshots", "os-reset_status"),
        "group": ("groups", "reset_status"),
        "group snapshot": ("group_snapshots", "reset_status"),
    }

    def stick(kind: str, resource_id: str) -> None:
        collection, action = actions[kind]
        path = f"/{collection}/{resource_id}/action"
        status, answer = login(devcloud, "backup").request("POST", path, {action: {"status": "creating"}})
        assert status == 202, answer

    return stick


@pytest.fixture
def connector(tmp_path: Path) -> BrickConnector:
    return BrickConnector(BrickSettings(tmp_path / "state", ip="127.0.0.1"))


class TestCinderCloud(CloudContract):
    """With listings of three entries a page."""


class TestCinderGroups(GroupContract):
    """In a pool that freezes groups at one instant."""


class TestCinderProjects(ProjectContract):
    """With an administrator who is a member of one of the two projects."""


@pytest.fixture
def volume(cloud: CinderCloud) -> Iterator[Volume]:
    """A volume that exists before a test and goes with everything that depends on it."""
    made = cloud.create_volume(VolumeSpec("source", 1))
    yield made
    remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, lambda run, host: False))
    cloud.delete_volume(made.id)


def test_a_clone_that_fails_is_deleted(devcloud: Devcloud, cloud: CinderCloud, volume: Volume) -> None:
    devcloud.set_faults(Fault("create_volume_from_snapshot"))
    with temporary_snapshot(cloud, volume.id, RUN, []) as snapshot:
        with pytest.raises(UnexpectedStateError, match="went to state error"):
            cloud.create_clone(snapshot, name="clone", metadata=RUN.tags)
        assert [v.id for v in cloud.volumes()] == [volume.id]


def test_a_volume_that_fails_is_deleted_and_the_error_tells_cinders_reason(
    devcloud: Devcloud, cloud: CinderCloud
) -> None:
    devcloud.set_faults(Fault("create_volume"))
    with pytest.raises(UnexpectedStateError, match=r"error: .*(failed to create|weighted backend)"):
        cloud.create_volume(VolumeSpec("disk", 1))
    assert list(cloud.volumes()) == []


def test_a_volume_snapshot_that_fails_is_deleted(devcloud: Devcloud, cloud: CinderCloud, volume: Volume) -> None:
    devcloud.set_faults(Fault("create_snapshot", times=1))
    with pytest.raises(UnexpectedStateError, match="went to state error"):
        cloud.create_snapshot(volume.id, name="frozen", metadata=RUN.tags)
    assert list(cloud.snapshots()) == []


def test_a_connection_that_fails_leaves_the_volume_available(
    devcloud: Devcloud, cloud: CinderCloud, volume: Volume, connector: BrickConnector
) -> None:
    devcloud.set_faults(Fault("initialize_connection", times=1))
    with pytest.raises(CloudUnavailableError, match="cannot connect attachment"), opened(cloud, volume, connector, []):
        pass
    assert cloud.get_volume(volume.id).status == "available"


def test_an_attachment_that_cannot_be_deleted_is_told_and_the_next_cleanup_removes_it(
    devcloud: Devcloud, cloud: CinderCloud, volume: Volume, connector: BrickConnector
) -> None:
    leftovers: list[str] = []
    devcloud.set_faults(Fault("terminate_connection", times=1))
    with (
        temporary_snapshot(cloud, volume.id, RUN, leftovers) as snapshot,
        temporary_clone(cloud, snapshot, RUN, leftovers) as clone,
        opened(cloud, clone, connector, leftovers) as source,
    ):
        assert source.size == GIB
    assert [entry.split()[0] for entry in leftovers] == ["attachment", "volume"]
    left = find_leftovers(cloud, lambda run, host: False)
    assert [v.id for v in left.volumes] == [clone.id]
    assert remove_leftovers(cloud, connector, left).kept == ()


def test_a_deletion_that_fails_in_the_back_end_says_that_an_administrator_is_needed(
    devcloud: Devcloud, cloud: CinderCloud, login: Callable[[Devcloud, str], Any]
) -> None:
    doomed = cloud.create_volume(VolumeSpec("doomed", 1))
    devcloud.set_faults(Fault("delete_volume", times=1))
    with pytest.raises(UnexpectedStateError, match="error_deleting") as first:
        cloud.delete_volume(doomed.id)
    with pytest.raises(UnexpectedStateError, match="error_deleting") as again:
        cloud.delete_volume(doomed.id)
    admin = login(devcloud, "backup")
    admin.request("POST", f"/volumes/{doomed.id}/action", {"os-force_delete": {}})
    while cloud.find_volume(doomed.id):
        pass
    assert "administrator" in str(first.value.hint)
    assert "administrator" in str(again.value.hint)


def test_a_volume_that_is_being_attached_is_snapshotted_as_soon_as_it_can_be(
    devcloud: Devcloud, cloud: CinderCloud, volume: Volume
) -> None:
    reserved = cloud.create_attachment(volume.id, Mode.READ)
    threading.Timer(0.3, cloud.delete_attachment, [reserved.id]).start()
    made = cloud.create_snapshot(volume.id, name="frozen", metadata=RUN.tags)
    assert made.status == "available"


def test_a_volume_whose_deletion_is_under_way_is_waited_for(
    devcloud: Devcloud, cloud: CinderCloud, volume: Volume
) -> None:
    slow = cloud.create_volume(VolumeSpec("slow", 1))
    held = Fault("delete_volume", "wait", times=1)
    devcloud.set_faults(held)
    first = threading.Thread(target=cloud.delete_volume, args=[slow.id])
    first.start()
    devcloud.wait_held(held)
    threading.Timer(0.2, devcloud.release, [held]).start()
    cloud.delete_volume(slow.id)
    first.join()
    assert cloud.find_volume(slow.id) is None


def test_a_volume_whose_deletion_never_ends_is_told(devcloud: Devcloud, cloud: CinderCloud, volume: Volume) -> None:
    slow = cloud.create_volume(VolumeSpec("slow", 1))
    held = Fault("delete_volume", "wait", times=1)
    devcloud.set_faults(held)
    first = threading.Thread(target=cloud.delete_volume, args=[slow.id])
    first.start()
    devcloud.wait_held(held)
    with pytest.raises(UnexpectedStateError, match="is still deleting after 1 s"):
        cloud.delete_volume(slow.id)
    devcloud.release(held)
    first.join()


def test_a_reader_may_look_and_not_touch(logins: dict[str, CinderCloud], volume: Volume) -> None:
    reader = logins["rita"]
    assert reader.get_volume(volume.id).id == volume.id
    with pytest.raises(AccessForbiddenError, match=volume.id):
        reader.create_snapshot(volume.id, name="frozen", metadata={})


def test_an_unknown_cloud_is_an_error_of_usage(devcloud: Devcloud) -> None:
    with pytest.raises(UsageError, match="nobody"):
        connect("nobody", pace=PACE)


def opened(
    cloud: CinderCloud, volume: Volume, connector: BrickConnector, leftovers: list[str]
) -> AbstractContextManager[BlockSource]:
    def open_device(info: ConnectionInfo) -> AbstractContextManager[BlockSource]:
        return connector.open_source(info, size=GIB)

    host = AttachingHost(connector.properties(), connector.disconnect)
    return attached(cloud, host, volume.id, Mode.READ, open_device, leftovers)
