"""A run's way to a volume's bytes, and what becomes of the volume meanwhile."""

from __future__ import annotations

import pytest
from tests.unit.workflow.conftest import World

from icebrick.app import volume_run
from icebrick.cloud.servers import ServerAttachment
from icebrick.progress import NO_PROGRESS
from icebrick.testing.fakeservers import start_server

STEPS = ("detach_server", "create_snapshot", "attach_server", "create_clone")


def test_a_cold_volume_is_back_at_its_server_before_it_is_read(world: World) -> None:
    volume, root = world.make_volume(), world.make_volume()
    server = start_server(world.cloud.records, root.id)
    attachment = world.cloud.servers().attach(ServerAttachment(server.id, volume.id))
    before = len(world.cloud.faults.calls)
    with (
        volume_run(world.host, world.cloud, world.repository, NO_PROGRESS, cold=True) as (access, _),
        access.frozen(volume) as snapshot,
        access.cloned(snapshot),
    ):
        assert [call for call in world.cloud.faults.calls[before:] if call in STEPS] == list(STEPS)
        assert list(world.cloud.servers().attachments(volume.id)) == [attachment]


def test_a_hot_volume_stays_at_its_server(world: World) -> None:
    volume, root = world.make_volume(), world.make_volume()
    server = start_server(world.cloud.records, root.id)
    world.cloud.servers().attach(ServerAttachment(server.id, volume.id))
    with world.run() as (access, _), access.frozen(volume):
        assert "detach_server" not in world.cloud.faults.calls


def test_what_a_killed_cold_backup_took_is_given_back_by_the_next_run(world: World) -> None:
    volume, root = world.make_volume(), world.make_volume()
    server = start_server(world.cloud.records, root.id)
    attachment = world.cloud.servers().attach(ServerAttachment(server.id, volume.id))
    world.cloud.faults.fail("create_snapshot", SystemExit())
    world.cloud.faults.fail("attach_server", SystemExit())
    with (
        pytest.raises(SystemExit),
        volume_run(world.host, world.cloud, world.repository, NO_PROGRESS, cold=True) as (access, _),
        access.frozen(volume),
    ):
        pytest.fail("it cannot be frozen")
    taken = world.cloud.get_volume(volume.id)
    assert taken.status == "available"
    assert taken.notes
    with world.run():
        assert list(world.cloud.servers().attachments(volume.id)) == [attachment]
    assert not world.cloud.get_volume(volume.id).notes
