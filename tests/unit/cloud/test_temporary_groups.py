"""Groups, group snapshots and transfers that must go again, or stay once they are finished."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icebrick.cloud.base import Group, GroupSpec, VolumeSpec
from icebrick.cloud.leftovers import find_leftovers
from icebrick.cloud.temporary import temporary_group_snapshot, transfer_volume, unfinished_group, unfinished_volume
from icebrick.errors import CloudUnavailableError, QuotaError, UnexpectedStateError
from icebrick.run import Run, find_mark
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakerecords import BETA

RUN = Run("20261123T061500Z-1f2e3d4c", "host1")
OUTAGE = CloudUnavailableError("no answer")
TYPE = "__DEFAULT__"
SPEC = GroupSpec("pair", "consistent", (TYPE,), description="of a database")
MEMBER = VolumeSpec("disk", 1, volume_type=TYPE)


class BodyError(Exception):
    """What goes wrong inside a block."""


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def receiver(cloud: FakeCloud) -> FakeCloud:
    return FakeCloud(cloud.records, BETA)


@pytest.fixture
def group(cloud: FakeCloud) -> Group:
    """With one member."""
    made = cloud.create_group(SPEC)
    cloud.add_to_group(made.id, cloud.create_volume(MEMBER).id)
    return made


def left(cloud: FakeCloud) -> tuple[str, ...]:
    """The runs that a cleanup would find something of."""
    return find_leftovers(cloud, lambda run_id, host: False).runs


def test_a_temporary_group_snapshot_is_marked_and_goes_when_the_block_fails(cloud: FakeCloud, group: Group) -> None:
    with pytest.raises(BodyError), temporary_group_snapshot(cloud, group.id, RUN, []) as taken:
        assert (taken.name, find_mark(taken.description)) == (f"icebrick-{RUN.id}", (RUN, ""))
        assert left(cloud) == (RUN.id,)
        raise BodyError
    assert (list(cloud.group_snapshots()), list(cloud.snapshots())) == ([], [])


def test_a_group_snapshot_that_stays_is_told(cloud: FakeCloud, group: Group) -> None:
    leftovers: list[str] = []
    cloud.faults.fail("delete_group_snapshot", OUTAGE)
    with temporary_group_snapshot(cloud, group.id, RUN, leftovers) as taken:
        pass
    assert leftovers == [f"group snapshot {taken.id}: no answer"]


def test_an_unfinished_group_is_marked_until_its_end_and_then_as_specified(cloud: FakeCloud) -> None:
    with unfinished_group(cloud, SPEC, RUN, []) as group:
        assert find_mark(cloud.get_group(group.id).description) == (RUN, "of a database")
    assert cloud.get_group(group.id).description == "of a database"
    assert left(cloud) == ()


def test_an_unfinished_group_goes_with_its_unfinished_members(cloud: FakeCloud) -> None:
    leftovers: list[str] = []
    with (
        pytest.raises(BodyError),
        unfinished_group(cloud, SPEC, RUN, leftovers) as group,
        unfinished_volume(cloud, MEMBER, RUN, leftovers) as volume,
    ):
        cloud.add_to_group(group.id, volume.id)
        raise BodyError
    assert (list(cloud.groups()), list(cloud.volumes()), leftovers) == ([], [], [])


def test_a_long_description_makes_room_for_the_mark_and_is_whole_at_the_end(cloud: FakeCloud) -> None:
    text = "d" * 255
    with unfinished_group(cloud, GroupSpec("pair", "consistent", (TYPE,), text), RUN, []) as group:
        assert len(group.description) == 255
    assert cloud.get_group(group.id).description == text


def test_a_mark_that_cannot_be_taken_off_is_a_leftover_that_a_cleanup_finds(cloud: FakeCloud) -> None:
    leftovers: list[str] = []
    cloud.faults.fail("update_group", OUTAGE)
    with unfinished_group(cloud, SPEC, RUN, leftovers) as group:
        pass
    assert leftovers == [f"mark of group {group.id}: no answer"]
    assert left(cloud) == (RUN.id,)


def test_a_transferred_volume_is_the_receivers(cloud: FakeCloud, receiver: FakeCloud) -> None:
    given = transfer_volume(cloud, cloud.create_volume(MEMBER).id, receiver, RUN, [])
    assert (given.project_id, given.status) == (BETA.id, "available")
    assert (list(cloud.volumes()), list(cloud.transfers())) == ([], [])


def test_a_volume_that_the_receiver_has_no_room_for_stays(cloud: FakeCloud, receiver: FakeCloud) -> None:
    volume = cloud.create_volume(MEMBER)
    receiver.faults.fail("accept_transfer", QuotaError("no room"))
    with pytest.raises(QuotaError):
        transfer_volume(cloud, volume.id, receiver, RUN, [])
    assert (cloud.get_volume(volume.id).status, list(cloud.transfers())) == ("available", [])


def test_a_killed_transfer_is_found(cloud: FakeCloud, receiver: FakeCloud) -> None:
    leftovers: list[str] = []
    unfinished = cloud.create_volume(replace(MEMBER, metadata=RUN.tags))
    cloud.faults.fail("delete_transfer", OUTAGE)
    receiver.faults.fail("accept_transfer", OUTAGE)
    with pytest.raises(CloudUnavailableError):
        transfer_volume(cloud, unfinished.id, receiver, RUN, leftovers)
    (offered,) = find_leftovers(cloud, lambda run_id, host: False).transfers
    assert leftovers == [f"transfer {offered.id} of volume {unfinished.id}: no answer"]


def test_a_volume_in_use_is_not_offered(cloud: FakeCloud, receiver: FakeCloud) -> None:
    volume = cloud.create_volume(MEMBER)
    cloud.set_status(volume.id, "in-use")
    with pytest.raises(UnexpectedStateError):
        transfer_volume(cloud, volume.id, receiver, RUN, [])
