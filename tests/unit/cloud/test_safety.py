"""Writing to somebody's volume itself: what it was is kept when it may be needed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest

from icebrick.cloud.base import Attachment, Mode, VolumeSnapshot, VolumeSpec
from icebrick.cloud.leftovers import find_leftovers, remove_leftovers
from icebrick.cloud.safety import keep, safety_snapshot
from icebrick.errors import CloudUnavailableError, UnexpectedStateError
from icebrick.run import HOST_KEY, SAFETY_KEY, Run
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector, FakeFormerHost

RUN = Run("20261123T061500Z-1f2e3d4c", "host1")


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def volume(cloud: FakeCloud) -> str:
    return cloud.create_volume(VolumeSpec("disk", 1)).id


def is_alive(run_id: str, host: str) -> bool:
    return (run_id, host) != (RUN.id, RUN.host)


def die_writing(cloud: FakeCloud, volume: str, *, server: str | None = None) -> VolumeSnapshot:
    """As by kill -9: the volume is attached, and nothing was cleared up."""
    metadata = {SAFETY_KEY: RUN.id, HOST_KEY: RUN.host}
    snapshot = cloud.create_snapshot(volume, name="safety", metadata=metadata)
    attachment = cloud.create_attachment(volume, Mode.WRITE)
    cloud.connect_attachment(attachment.id, FakeConnector(cloud.records).properties(), Mode.WRITE)
    cloud.complete_attachment(attachment.id)
    if server is not None:
        cloud.give_to_server(attachment.id, server)
    return snapshot


def die_connecting(cloud: FakeCloud, volume: str) -> None:
    """As by kill -9 while the driver makes the connection."""
    metadata = {SAFETY_KEY: RUN.id, HOST_KEY: RUN.host}
    cloud.create_snapshot(volume, name="safety", metadata=metadata)
    cloud.begin_connecting(cloud.create_attachment(volume, Mode.WRITE).id)


def attachments(cloud: FakeCloud, volume: str) -> list[Attachment]:
    return list(cloud.attachments(volume))


def test_a_safety_snapshot_that_is_not_needed_goes(cloud: FakeCloud, volume: str) -> None:
    with pytest.raises(ValueError, match="early"), safety_snapshot(cloud, volume, RUN, []):
        raise ValueError("early")
    assert cloud.snapshots() == []


@pytest.mark.parametrize("ending", [nullcontext(), pytest.raises(ZeroDivisionError)], ids=["well", "badly"])
def test_a_safety_snapshot_that_is_needed_stays_with_nothing_but_the_runs_name(
    cloud: FakeCloud, volume: str, ending: AbstractContextManager[object]
) -> None:
    with ending as expected, safety_snapshot(cloud, volume, RUN, []) as safety:
        keep(cloud, safety, RUN)
        1 / (expected is None)
    (snapshot,) = cloud.snapshots()
    assert (snapshot.name, snapshot.metadata) == (f"icebrick-safety-{RUN.id}", {SAFETY_KEY: RUN.id})
    assert not find_leftovers(cloud, is_alive)


def test_before_anything_is_written_it_is_a_leftover_like_any_other(cloud: FakeCloud, volume: str) -> None:
    with safety_snapshot(cloud, volume, RUN, []) as safety:
        found = find_leftovers(cloud, is_alive)
        assert ([each.id for each in found.snapshots], found.written) == ([safety.snapshot.id], ())


def test_while_the_volume_is_written_it_is_no_leftover_but_tells_which_volume_to_set_free(
    cloud: FakeCloud, volume: str
) -> None:
    with safety_snapshot(cloud, volume, RUN, []) as safety:
        keep(cloud, safety, RUN)
        found = find_leftovers(cloud, is_alive)
        assert (found.made, [each.id for each in found.written]) == ((), [safety.snapshot.id])
        assert found.runs == (RUN.id,)
        assert not find_leftovers(cloud, lambda run_id, host: True)


def test_a_volume_that_may_still_be_attached_is_left_to_the_next_cleanup(cloud: FakeCloud, volume: str) -> None:
    leftovers: list[str] = []
    with safety_snapshot(cloud, volume, RUN, leftovers) as safety:
        keep(cloud, safety, RUN)
        leftovers.append("device of volume")
    assert [each.volume_id for each in find_leftovers(cloud, is_alive).written] == [volume]


def test_a_volume_that_a_dead_run_was_writing_is_detached_and_its_safety_snapshot_stays(
    cloud: FakeCloud, volume: str
) -> None:
    snapshot = die_writing(cloud, volume)
    host = FakeFormerHost()
    removal = remove_leftovers(cloud, host, find_leftovers(cloud, is_alive))
    assert removal.removed == (f"attachments of volume {volume}",)
    assert ([info.data["volume_id"] for info in host.disconnected], attachments(cloud, volume)) == ([volume], [])
    assert [each.id for each in cloud.snapshots()] == [snapshot.id]
    assert cloud.get_volume(volume).status == "available"
    assert not find_leftovers(cloud, is_alive)


def test_a_connection_that_cinder_was_still_making_when_the_run_died_goes(cloud: FakeCloud, volume: str) -> None:
    die_connecting(cloud, volume)
    removal = remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive))
    assert (removal.removed, removal.kept) == ((f"attachments of volume {volume}",), ())
    assert (cloud.get_volume(volume).status, attachments(cloud, volume)) == ("available", [])
    assert cloud.records.exports == {}


def test_a_volume_that_does_not_connect_again_stays_reserved_until_it_does(cloud: FakeCloud, volume: str) -> None:
    die_connecting(cloud, volume)
    cloud.faults.fail("connect_attachment", CloudUnavailableError("no answer"))
    (kept,) = remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive)).kept
    assert (kept.reason, cloud.get_volume(volume).status) == ("no answer", "reserved")
    assert remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive)).kept == ()
    assert (cloud.get_volume(volume).status, cloud.records.exports) == ("available", {})


def test_a_volume_that_cinder_refuses_to_connect_again_is_set_free_all_the_same(cloud: FakeCloud, volume: str) -> None:
    die_connecting(cloud, volume)
    cloud.faults.fail("connect_attachment", UnexpectedStateError("volume is in error"))
    assert remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive)).kept == ()
    assert cloud.get_volume(volume).status == "available"


def test_a_servers_attachment_that_came_later_stays(cloud: FakeCloud, volume: str) -> None:
    die_writing(cloud, volume, server="server-1")
    remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive))
    assert len(attachments(cloud, volume)) == 1
    assert not find_leftovers(cloud, is_alive)


def test_a_volume_that_cannot_be_set_free_is_tried_again(cloud: FakeCloud, volume: str) -> None:
    die_writing(cloud, volume)
    cloud.faults.fail("delete_attachment", CloudUnavailableError("no answer"))
    removal = remove_leftovers(cloud, FakeFormerHost(), find_leftovers(cloud, is_alive))
    assert [kept.what for kept in removal.kept] == [f"attachments of volume {volume}"]
    assert [each.volume_id for each in find_leftovers(cloud, is_alive).written] == [volume]


def test_a_safety_snapshot_that_cannot_be_marked_as_finished_is_told(cloud: FakeCloud, volume: str) -> None:
    leftovers: list[str] = []
    with safety_snapshot(cloud, volume, RUN, leftovers) as safety:
        keep(cloud, safety, RUN)
        cloud.faults.fail("replace_snapshot_metadata", CloudUnavailableError("no answer"))
    assert leftovers == [f"volume snapshot {safety.snapshot.id}: no answer"]
