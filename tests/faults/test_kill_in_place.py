"""kill -9 while a volume itself is restored: it is never lost, and the next command lets go of it.

That it may die at any other call, and whichever way a restore goes, is tested on the fakes
(tests/unit/workflow/restoring/test_deaths.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from tests.faults.content import digest_of
from tests.faults.scene import Desk, Left, Scene
from tests.faults.victim import Victim, run

from icebrick.cloud.base import VolumeSpec
from icebrick.run import SAFETY_KEY

pytestmark = pytest.mark.slow

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Itself:
    """A volume that has changed since it was backed up to the desk's repository; digests of both states."""

    desk: Desk
    volume_id: str
    backed_up: str
    now: str

    @property
    def restore(self) -> tuple[str, ...]:
        return ("restore", "--in-place", "--single-volume-id", self.volume_id)


@pytest.fixture
def itself(scene: Scene) -> Iterator[Itself]:
    volume_id = scene.cloud.create_volume(VolumeSpec("itself", 1)).id
    desk = scene.desk(f"desk of {volume_id}")
    write(scene, volume_id, 0, 2)
    backed_up = digest_of(scene.file_of(volume_id))
    run(scene.command(desk, "backup", "--single-volume-id", volume_id))
    write(scene, volume_id, 1, 2)
    yield Itself(desk, volume_id, backed_up, digest_of(scene.file_of(volume_id)))
    for snapshot in scene.cloud.snapshots():
        scene.cloud.delete_snapshot(snapshot.id)
    scene.sweep()


def write(scene: Scene, volume_id: str, first: int, count: int) -> None:
    with scene.attached(volume_id) as device, device.open("r+b", buffering=0) as disk:
        disk.seek(first * _MIB)
        disk.write(os.urandom(count * _MIB))
        os.fsync(disk.fileno())


def kill(scene: Scene, itself: Itself, place: str) -> None:
    with Victim(scene.command(itself.desk, *itself.restore), stepped=True) as victim:
        victim.go_to(place)
        victim.kill()


def without_notes(left: Left) -> Left:
    return replace(left, notes=0)


def test_before_anything_was_written_nothing_is_kept(scene: Scene, itself: Itself) -> None:
    before = scene.left(itself.desk)
    kill(scene, itself, "before cloud.replace_snapshot_metadata")
    assert scene.left(itself.desk).snapshots == 1
    run(scene.command(itself.desk, "cleanup"))
    assert without_notes(scene.left(itself.desk)) == without_notes(before)
    assert digest_of(scene.file_of(itself.volume_id)) == itself.now


@pytest.mark.parametrize("place", ["after connector.open_target", "before the end of connector.open_target"])
def test_when_something_may_have_been_written_the_volume_is_let_go_and_what_it_was_is_kept(
    scene: Scene, itself: Itself, place: str
) -> None:
    before = scene.left(itself.desk)
    kill(scene, itself, place)
    assert scene.cloud.get_volume(itself.volume_id).status != "available"
    run(scene.command(itself.desk, "cleanup"))
    (safety,) = scene.cloud.snapshots()
    assert set(safety.metadata) == {SAFETY_KEY}
    assert scene.cloud.get_volume(itself.volume_id).status == "available"
    after = scene.left(itself.desk)
    assert without_notes(after) == replace(before, notes=0, snapshots=1, files=before.files + 1)
    undone = scene.cloud.create_clone(safety, name="undone", metadata={})
    assert digest_of(scene.file_of(undone.id)) == itself.now
    run(scene.command(itself.desk, *itself.restore))
    assert digest_of(scene.file_of(itself.volume_id)) == itself.backed_up
