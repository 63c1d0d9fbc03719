"""Cleaning up after dead runs: all of theirs, nothing of anybody else's, and what cannot go is told."""

from __future__ import annotations

import pytest

from icebrick.cloud.base import Mode, VolumeSpec
from icebrick.cloud.leftovers import Leftovers, find_leftovers, remove_leftovers
from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError
from icebrick.run import RUN_KEY, Run
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector

DEAD = Run("20261122T010000Z-dead0000", "host1")
LIVE = Run("20261123T010000Z-11fe0000", "host1")


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def source(cloud: FakeCloud) -> str:
    """The volume that the runs back up."""
    return cloud.create_volume(VolumeSpec("source", 1)).id


@pytest.fixture
def disconnected() -> list[ConnectionInfo]:
    return []


def is_alive(run_id: str, host: str) -> bool:
    return (run_id, host) == (LIVE.id, LIVE.host)


def leave(cloud: FakeCloud, source: str, run: Run) -> tuple[str, str]:
    """A run's volume snapshot and attached clone."""
    snapshot = cloud.create_snapshot(source, name="s", metadata=run.tags)
    clone = cloud.create_clone(snapshot, name="c", metadata=run.tags)
    attachment = cloud.create_attachment(clone.id, Mode.READ)
    cloud.connect_attachment(attachment.id, FakeConnector(cloud.records).properties(), Mode.READ)
    cloud.complete_attachment(attachment.id)
    return snapshot.id, clone.id


def test_only_what_dead_runs_tagged_is_found(cloud: FakeCloud, source: str) -> None:
    leave(cloud, source, LIVE)
    snapshot, clone = leave(cloud, source, DEAD)
    found = find_leftovers(cloud, is_alive)
    assert ([v.id for v in found.volumes], [s.id for s in found.snapshots]) == ([clone], [snapshot])
    assert found.runs == (DEAD.id,)


def test_a_tag_without_a_host_is_asked_for_all_the_same(cloud: FakeCloud) -> None:
    cloud.create_volume(VolumeSpec("old", 1, metadata={RUN_KEY: "r"}))
    asked: list[tuple[str, str]] = []
    find_leftovers(cloud, lambda run_id, host: not asked.append((run_id, host)))
    assert asked == [("r", "")]


def test_leftovers_are_removed_with_their_connections_and_the_source_stays(
    cloud: FakeCloud, source: str, disconnected: list[ConnectionInfo]
) -> None:
    snapshot, clone = leave(cloud, source, DEAD)
    removal = remove_leftovers(cloud, disconnected.append, find_leftovers(cloud, is_alive))
    assert removal.removed == (f"volume {clone}", f"volume snapshot {snapshot}")
    assert ([v.id for v in cloud.volumes()], list(cloud.snapshots())) == ([source], [])
    assert [info.data["volume_id"] for info in disconnected] == [clone]


def test_an_attachment_that_was_only_reserved_has_nothing_to_disconnect(
    cloud: FakeCloud, disconnected: list[ConnectionInfo]
) -> None:
    cloud.create_attachment(cloud.create_volume(VolumeSpec("c", 1, metadata=DEAD.tags)).id, Mode.READ)
    remove_leftovers(cloud, disconnected.append, find_leftovers(cloud, is_alive))
    assert (list(cloud.volumes()), disconnected) == ([], [])


@pytest.mark.parametrize("status", ["creating", "deleting", "error_deleting"])
def test_a_stuck_volume_is_told_with_its_state_and_the_rest_goes(cloud: FakeCloud, source: str, status: str) -> None:
    snapshot, _ = leave(cloud, source, DEAD)
    stuck = cloud.create_volume(VolumeSpec("stuck", 1, metadata=DEAD.tags)).id
    cloud.set_status(stuck, status)
    removal = remove_leftovers(cloud, lambda info: None, find_leftovers(cloud, is_alive))
    (kept,) = removal.kept
    assert kept.what == f"volume {stuck}"
    assert status in kept.reason
    assert f"volume snapshot {snapshot}" in removal.removed


def test_a_volume_that_cannot_be_disconnected_keeps_its_attachment(cloud: FakeCloud, source: str) -> None:
    def fail(info: ConnectionInfo) -> None:
        raise AttachError("device is busy")

    _, clone = leave(cloud, source, DEAD)
    removal = remove_leftovers(cloud, fail, find_leftovers(cloud, is_alive))
    assert [kept.reason for kept in removal.kept if kept.what == f"volume {clone}"] == ["device is busy"]
    assert len(cloud.attachments(clone)) == 1


def test_a_leftover_that_somebody_gave_to_a_server_is_left_alone(
    cloud: FakeCloud, disconnected: list[ConnectionInfo]
) -> None:
    volume = cloud.create_volume(VolumeSpec("half restored", 1, metadata=DEAD.tags))
    attachment = cloud.create_attachment(volume.id, Mode.WRITE)
    cloud.give_to_server(attachment.id, "server-1")
    (kept,) = remove_leftovers(cloud, disconnected.append, find_leftovers(cloud, is_alive)).kept
    assert "server-1" in kept.reason
    assert (len(cloud.attachments(volume.id)), disconnected) == (1, [])


def test_nothing_left_is_false() -> None:
    assert not Leftovers()
