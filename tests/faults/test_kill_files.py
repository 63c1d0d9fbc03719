"""kill -9 while a file system is mounted: the mount is gone with the process, and the rest with the next command."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
from tests.faults.scene import Desk, Left, Scene
from tests.faults.victim import Victim, run

from icebrick.backend.local import LocalBackend
from icebrick.cloud.base import VolumeSpec
from icebrick.filesystem.mount import _wait_until_free, mounted_for_writing
from icebrick.filesystem.programs import run_program
from icebrick.repository.check import check_repository
from icebrick.repository.repository import open_repository
from icebrick.testing.images import PASSWORD

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class FileVolumes:
    """Volumes with an ext4 each, backed up to the desk's repository; one of them is gone."""

    desk: Desk
    there: str
    gone: str


@pytest.fixture(scope="module")
def volumes(scene: Scene) -> Iterator[FileVolumes]:
    there, gone = (_make_volume(scene, name) for name in ("there", "gone"))
    desk = scene.desk("files")
    run(scene.command(desk, "backup", "--single-volume-id", there, "--single-volume-id", gone, "--mode", "files"))
    scene.cloud.delete_volume(gone)
    yield FileVolumes(desk, there, gone)
    scene.sweep()


def _make_volume(scene: Scene, name: str) -> str:
    volume_id = scene.cloud.create_volume(VolumeSpec(name, 1)).id
    with scene.attached(volume_id) as device:
        run_program(["mkfs.ext4", "-q", str(device)])
        with (
            mounted_for_writing(str(device), "ext4") as root,
            open(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=root), "wb") as file,
        ):
            file.write(os.urandom(1 << 20))
    return volume_id


@pytest.mark.parametrize(
    ("command", "volume", "place"),
    [
        ("backup", "there", "after mounted_for_reading"),
        ("backup", "there", "before backend.save snapshots"),
        ("restore", "there", "after mounted_for_writing"),
        ("restore", "gone", "before the end of mounted_for_writing"),
    ],
)
def test_a_mount_goes_with_the_process_and_the_rest_with_the_next_command(
    scene: Scene, volumes: FileVolumes, command: str, volume: str, place: str
) -> None:
    desk = volumes.desk
    before = scene.left(desk)
    volume_id = volumes.gone if volume == "gone" else volumes.there
    with Victim(scene.command(desk, command, "--single-volume-id", volume_id), stepped=True) as victim:
        victim.go_to(place)
        (device,) = [loop.device for loop in scene.leaks().loops]
        assert is_in_use(device)
        victim.kill()
    _wait_until_free(device)
    assert scene.left(desk) != before
    run(scene.command(desk, "cleanup"))
    assert without_notes(scene.left(desk)) == without_notes(before)
    with closing(LocalBackend(desk.repository)) as backend:
        assert check_repository(open_repository(backend, PASSWORD), read_data=True).problems == ()


def is_in_use(device: str) -> bool:
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def without_notes(left: Left) -> Left:
    return replace(left, notes=0)
