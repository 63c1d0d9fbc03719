"""With-blocks of the cloud: gone afterwards, whatever happened; what cannot go is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from icebrick.blockdev import BlockSource
from icebrick.cloud.base import Mode, VolumeSettings, VolumeSnapshot, VolumeSpec
from icebrick.cloud.temporary import (
    AttachingHost,
    attached,
    temporary_clone,
    temporary_snapshot,
    unfinished_clone,
    unfinished_volume,
)
from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError, CloudError, CloudUnavailableError, QuotaError, UnexpectedStateError
from icebrick.run import Run
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector
from icebrick.testing.fakerecords import GIB

RUN = Run("20261123T061500Z-1f2e3d4c", "host1")
OUTAGE = CloudUnavailableError("no answer")


class BodyError(Exception):
    """What goes wrong inside a block."""


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def volume_id(cloud: FakeCloud) -> str:
    return cloud.create_volume(VolumeSpec("disk", 1)).id


@pytest.fixture
def snapshot(cloud: FakeCloud, volume_id: str) -> VolumeSnapshot:
    return cloud.create_snapshot(volume_id, name="frozen", metadata={})


@pytest.fixture
def connector(cloud: FakeCloud) -> FakeConnector:
    return FakeConnector(cloud.records)


def test_a_temporary_snapshot_is_tagged_and_named_after_its_run(cloud: FakeCloud, volume_id: str) -> None:
    with temporary_snapshot(cloud, volume_id, RUN, []) as snapshot:
        assert (snapshot.name, dict(snapshot.metadata)) == (f"icebrick-{RUN.id}", RUN.tags)


def test_a_temporary_clone_is_tagged_and_named_after_its_run(cloud: FakeCloud, snapshot: VolumeSnapshot) -> None:
    with temporary_clone(cloud, snapshot, RUN, []) as clone:
        assert (clone.name, dict(clone.metadata)) == (f"icebrick-{RUN.id}", RUN.tags)


@pytest.mark.parametrize("error", [None, BodyError(), KeyboardInterrupt()], ids=["success", "error", "interrupt"])
def test_what_is_temporary_goes_on_every_way_out(cloud: FakeCloud, volume_id: str, error: BaseException | None) -> None:
    leftovers: list[str] = []
    with (
        swallowed(error),
        temporary_snapshot(cloud, volume_id, RUN, leftovers) as snapshot,
        temporary_clone(cloud, snapshot, RUN, leftovers),
    ):
        if error:
            raise error
    assert [volume.id for volume in cloud.volumes()] == [volume_id]
    assert (list(cloud.snapshots()), leftovers) == ([], [])


def test_a_failure_to_clean_up_after_success_is_told_and_not_raised(cloud: FakeCloud, volume_id: str) -> None:
    leftovers: list[str] = []
    cloud.faults.fail("delete_snapshot", OUTAGE)
    with temporary_snapshot(cloud, volume_id, RUN, leftovers) as snapshot:
        pass
    assert leftovers == [f"volume snapshot {snapshot.id}: no answer"]


def test_a_failure_to_clean_up_does_not_hide_the_error_of_the_block(cloud: FakeCloud, volume_id: str) -> None:
    leftovers: list[str] = []
    cloud.faults.fail("delete_snapshot", OUTAGE)
    with pytest.raises(BodyError), temporary_snapshot(cloud, volume_id, RUN, leftovers):
        raise BodyError
    assert len(leftovers) == 1


def test_an_interrupt_while_a_snapshot_is_made_leaves_it_tagged(cloud: FakeCloud, volume_id: str) -> None:
    cloud.faults.fail("create_snapshot", KeyboardInterrupt(), after=True)
    with pytest.raises(KeyboardInterrupt), temporary_snapshot(cloud, volume_id, RUN, []):
        pass
    assert [dict(snapshot.metadata) for snapshot in cloud.snapshots()] == [RUN.tags]


def test_an_unfinished_volume_stays_without_tags_when_its_block_ends(cloud: FakeCloud) -> None:
    with unfinished_volume(cloud, VolumeSpec("restored", 1, metadata={"k": "v"}), RUN, []) as volume:
        assert dict(volume.metadata) == {"k": "v", **RUN.tags}
    assert [(v.id, dict(v.metadata)) for v in cloud.volumes()] == [(volume.id, {"k": "v"})]


def test_settings_applied_to_an_unfinished_volume_do_not_take_its_tags_off(cloud: FakeCloud) -> None:
    with unfinished_volume(cloud, VolumeSpec("restored", 1), RUN, []) as volume:
        cloud.apply_settings(volume.id, VolumeSettings("named", "", {"k": "v"}, {}, bootable=False, read_only=False))
        assert cloud.get_volume(volume.id).metadata == {"k": "v", **RUN.tags}
    assert cloud.get_volume(volume.id).metadata == {"k": "v"}


def test_an_unfinished_volume_goes_when_its_block_fails(cloud: FakeCloud) -> None:
    with pytest.raises(BodyError), unfinished_volume(cloud, VolumeSpec("restored", 1), RUN, []):
        raise BodyError
    assert list(cloud.volumes()) == []


def test_an_unfinished_clone_stays_with_its_name_when_its_block_ends(
    cloud: FakeCloud, snapshot: VolumeSnapshot
) -> None:
    with unfinished_clone(cloud, snapshot, "restored", RUN, []) as clone:
        pass
    assert (cloud.get_volume(clone.id).name, dict(cloud.get_volume(clone.id).metadata)) == ("restored", {})


def test_a_finished_volume_that_cannot_be_untagged_is_an_error_that_keeps_it(cloud: FakeCloud) -> None:
    cloud.faults.fail("untag_volume", OUTAGE)
    finished = unfinished_volume(cloud, VolumeSpec("restored", 1), RUN, [])
    with pytest.raises(CloudError, match="still marked as unfinished") as caught, finished as volume:
        pass
    assert volume.id in str(caught.value.hint)
    assert cloud.find_volume(volume.id) is not None


def test_a_finished_volume_is_untagged_even_if_the_answer_to_that_is_lost(cloud: FakeCloud) -> None:
    cloud.faults.fail("untag_volume", OUTAGE, after=True)
    with unfinished_volume(cloud, VolumeSpec("restored", 1), RUN, []) as volume:
        pass
    assert dict(cloud.get_volume(volume.id).metadata) == {}


def test_a_volume_beyond_the_quota_leaves_nothing(cloud: FakeCloud) -> None:
    with pytest.raises(QuotaError), unfinished_volume(cloud, VolumeSpec("huge", 10_000), RUN, []):
        pass
    assert list(cloud.volumes()) == []


def test_an_attachment_that_cannot_be_connected_is_deleted(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector
) -> None:
    cloud.faults.fail("connect_attachment", OUTAGE)
    with pytest.raises(CloudUnavailableError), open_attached(cloud, volume_id, connector, []):
        pass
    assert cloud.get_volume(volume_id).status == "available"


@pytest.mark.parametrize(("made", "seen"), [(True, True), (True, False), (False, True)])
def test_an_attachment_that_may_have_been_made_is_a_leftover(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector, *, made: bool, seen: bool
) -> None:
    leftovers: list[str] = []
    cloud.faults.fail("create_attachment", OUTAGE, after=made)
    cloud.faults.fail("attachments", OUTAGE, times=0 if seen else 1)
    with pytest.raises(CloudUnavailableError), open_attached(cloud, volume_id, connector, leftovers):
        pass
    assert leftovers == ([f"attachment of volume {volume_id}: no answer"] if made else [])


def test_an_attached_device_is_complete_inside_and_gone_after(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector
) -> None:
    with open_attached(cloud, volume_id, connector, []) as source:
        assert source.size == GIB
        assert cloud.get_volume(volume_id).status == "in-use"
    assert (cloud.get_volume(volume_id).status, connector.connected) == ("available", set())


def test_a_device_that_cannot_be_opened_leaves_no_attachment(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector
) -> None:
    connector.faults.fail("open_source", AttachError("no device"))
    with pytest.raises(AttachError, match="no device"), open_attached(cloud, volume_id, connector, []):
        pass
    assert list(cloud.attachments(volume_id)) == []


def test_a_device_is_closed_when_the_attachment_cannot_be_completed(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector
) -> None:
    cloud.faults.fail("complete_attachment", OUTAGE)
    with pytest.raises(CloudUnavailableError), open_attached(cloud, volume_id, connector, []):
        pass
    assert (connector.connected, list(cloud.attachments(volume_id))) == (set(), [])


def test_a_device_that_does_not_close_at_once_is_disconnected(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector
) -> None:
    leftovers: list[str] = []
    connector.faults.fail("disconnect", AttachError("busy"))
    with open_attached(cloud, volume_id, connector, leftovers):
        pass
    assert (leftovers, connector.connected, list(cloud.attachments(volume_id))) == ([], set(), [])


@pytest.mark.parametrize("error", [None, BodyError()])
def test_a_device_that_cannot_be_closed_keeps_its_attachment_for_a_cleanup(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector, error: BodyError | None
) -> None:
    leftovers: list[str] = []
    connector.faults.fail("disconnect", AttachError("busy"), times=2)
    with swallowed(error), open_attached(cloud, volume_id, connector, leftovers):
        if error is not None:
            raise error
    (attachment,) = cloud.attachments(volume_id)
    assert connector.connected == {attachment.id}
    assert leftovers == [f"attachment {attachment.id} of volume {volume_id}: busy"]


def test_a_volume_that_is_still_attached_is_not_finished(cloud: FakeCloud, connector: FakeConnector) -> None:
    leftovers: list[str] = []
    connector.faults.fail("disconnect", AttachError("busy"), times=2)
    unfinished = unfinished_volume(cloud, VolumeSpec("restored", 1), RUN, leftovers)
    with (
        pytest.raises(UnexpectedStateError, match="still attached"),
        unfinished as volume,
        open_attached(cloud, volume.id, connector, leftovers),
    ):
        pass
    assert RUN.tags.items() <= cloud.get_volume(volume.id).metadata.items()


def test_an_error_of_the_device_in_the_block_is_raised(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector
) -> None:
    with pytest.raises(AttachError, match="bad sector"), open_attached(cloud, volume_id, connector, []):
        raise AttachError("bad sector")


def open_attached(
    cloud: FakeCloud, volume_id: str, connector: FakeConnector, leftovers: list[str]
) -> AbstractContextManager[BlockSource]:
    def open_device(info: ConnectionInfo) -> AbstractContextManager[BlockSource]:
        return connector.open_source(info, size=GIB)

    host = AttachingHost(connector.properties(), connector.disconnect)
    return attached(cloud, host, volume_id, Mode.READ, open_device, leftovers)


@contextmanager
def swallowed(error: BaseException | None) -> Iterator[None]:
    if error is None:
        yield
        return
    with pytest.raises(type(error)):
        yield
