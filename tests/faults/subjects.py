"""Volumes that some flows need beside those of the scene: one that is itself restored, some with file systems, and one
that a server has. Each is made for the first flow that needs it, and is then the same for every cell."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from tests.faults.content import digest_of
from tests.faults.scene import USER, Desk, Scene
from tests.faults.storm.filed import stored_files
from tests.faults.victim import run
from tests.integration.compute import Compute
from tests.integration.conftest import log_in

from icebrick.backend.local import LocalBackend
from icebrick.cloud.base import VolumeSettings, VolumeSpec
from icebrick.cloud.servers import ServerAttachment
from icebrick.errors import FileSystemError
from icebrick.filesystem.mount import mounted_for_reading, mounted_for_writing
from icebrick.filesystem.programs import run_program
from icebrick.progress import NO_PROGRESS
from icebrick.repository.repository import open_repository
from icebrick.run import SAFETY_KEY
from icebrick.testing.images import PASSWORD
from icebrick.testing.loopdevice import loop_device
from icebrick.workflow.images import load_images
from icebrick.workflow.naming import volume_path
from icebrick.workflow.select import with_path

_MIB = 1 << 20


class Subject(Protocol):
    """What a flow is about. Made by `Scene.subject`."""

    def problems(self, desk: Desk) -> Iterator[str]:
        """After a kill and its recovery. What is kept on purpose is looked at and removed here."""

    def reset(self) -> None:
        """Make it as it was before the flow, whatever has happened."""

    def close(self) -> None:
        """Let go of its volumes, which are then removed."""


class Itself(Subject):
    """A volume that has changed since its backup, and that is itself restored."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.volume_id = scene.cloud.create_volume(VolumeSpec("itself", 1)).id
        self._write(0, 2)
        self.backed_up = digest_of(self._file)
        scene.back_up_for_all("backup", "--single-volume-id", self.volume_id)
        self._write(0, 2)
        self.now = digest_of(self._file)
        self._kept = scene.folder / "itself"
        _copy(self._file, self._kept)
        scene.adopt(self.volume_id)

    @property
    def restore(self) -> tuple[str, ...]:
        return ("restore", "--in-place", "--single-volume-id", self.volume_id)

    def problems(self, desk: Desk) -> Iterator[str]:
        """It is never lost: when anything may have been written, a volume snapshot has what it held."""
        cloud = self._scene.cloud
        volume = cloud.get_volume(self.volume_id)
        if volume.status != "available" or cloud.attachments(volume.id):
            yield f"volume {volume.id} is {volume.status}"
        kept = [
            each for each in cloud.snapshots() if each.volume_id == volume.id and set(each.metadata) == {SAFETY_KEY}
        ]
        for snapshot in kept:
            if self._scene.digest_of_snapshot(snapshot) != self.now:
                yield f"volume snapshot {snapshot.id} does not hold what the volume did"
        content = digest_of(self._file)
        if content != self.now and not kept:
            yield f"volume {volume.id} was written and nothing has what it held"
        if content not in (self.now, self.backed_up):
            run(self._scene.command(desk, *self.restore))
            if digest_of(self._file) != self.backed_up:
                yield f"volume {volume.id}, half restored, is not restored by another restore"
        self.reset()

    def reset(self) -> None:
        for snapshot in self._scene.cloud.snapshots():
            if snapshot.volume_id == self.volume_id and SAFETY_KEY in snapshot.metadata:
                self._scene.cloud.delete_snapshot(snapshot.id)
        _copy(self._kept, self._file)

    def close(self) -> None:
        """Nobody else has the volume."""

    @property
    def _file(self) -> Path:
        return self._scene.file_of(self.volume_id)

    def _write(self, first: int, count: int) -> None:
        with self._scene.attached(self.volume_id) as device, device.open("r+b", buffering=0) as disk:
            disk.seek(first * _MIB)
            disk.write(os.urandom(count * _MIB))
            os.fsync(disk.fileno())


class Filed(Subject):
    """Two volumes with an ext4 and a backup of its files: one has changed since, the other is gone."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.there, self.gone = (self._make(name) for name in ("there", "gone"))
        self.backups = tuple(digest_of_files(scene.file_of(volume_id)) for volume_id in (self.there, self.gone))
        ids = ("--single-volume-id", self.there, "--single-volume-id", self.gone)
        scene.back_up_for_all("backup", "--mode", "files", *ids)
        scene.cloud.delete_volume(self.gone)
        self._write(self.there, changed=b"after" * 1000)
        self._now = digest_of(scene.file_of(self.there))
        self._files_now = digest_of_files(scene.file_of(self.there))
        scene.adopt(self.there)

    def problems(self, desk: Desk) -> Iterator[str]:
        volume = self._scene.cloud.get_volume(self.there)
        if volume.status != "available" or self._scene.cloud.attachments(volume.id):
            yield f"volume {volume.id} is {volume.status}"
        if digest_of(self._scene.file_of(self.there)) != self._now:
            yield f"the content of volume {self.there} has changed"
        with closing(LocalBackend(desk.repository)) as backend:
            images = load_images(open_repository(backend, PASSWORD), NO_PROGRESS)
            for number, snapshot in enumerate(with_path(images.snapshots, volume_path(self.there))):
                if _digest(stored_files(images.store, snapshot)) != (self._files_now if number else self.backups[0]):
                    yield f"snapshot {snapshot.id} holds other files"

    def reset(self) -> None:
        """Nobody writes to it."""

    def close(self) -> None:
        """Nobody else has the volume."""

    def _make(self, name: str) -> str:
        volume_id = self._scene.cloud.create_volume(VolumeSpec(name, 1)).id
        with self._scene.attached(volume_id) as device:
            run_program(["mkfs.ext4", "-q", str(device)])
        self._write(volume_id, same=os.urandom(_MIB), changed=b"before")
        return volume_id

    def _write(self, volume_id: str, **files: bytes) -> None:
        with (
            self._scene.attached(volume_id) as device,
            mounted_for_writing(str(device), "ext4") as root,
        ):
            for name, content in files.items():
                with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=root), "wb") as file:
                    file.write(content)


class Served(Subject):
    """A volume that a server of Nova has, and must have again."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        cloud = scene.cloud
        bootable = VolumeSettings("root", "", {}, {}, bootable=True, read_only=False)
        self._root = cloud.apply_settings(cloud.create_volume(VolumeSpec("root", 1)).id, bootable).id
        self.volume_id = cloud.create_volume(VolumeSpec("served", 1, metadata={"k": "v"})).id
        with scene.attached(self.volume_id) as device, device.open("r+b", buffering=0) as disk:
            disk.write(os.urandom(_MIB))
            os.fsync(disk.fileno())
        with self._compute() as compute:
            self._server = compute.start_server(self._root)
        self._attachment = cloud.servers().attach(ServerAttachment(self._server, self.volume_id))
        self._now = digest_of(scene.file_of(self.volume_id))
        scene.adopt(self._root, self.volume_id)
        scene.images[self.volume_id] = self._now

    def problems(self, desk: Desk) -> Iterator[str]:
        volume = self._scene.cloud.get_volume(self.volume_id)
        if (volume.status, volume.metadata, volume.notes) != ("in-use", {"k": "v"}, {}):
            yield f"volume {volume.id} is {volume.status}, with {volume.metadata} and {volume.notes}"
        if list(self._attachments) != [self._attachment]:
            yield f"instead of {self._attachment} there is {self._attachments}"
        if digest_of(self._scene.file_of(volume.id)) != self._now:
            yield f"the content of volume {volume.id} has changed"

    def reset(self) -> None:
        if not self._attachments:
            self._scene.cloud.servers().attach(self._attachment)

    def close(self) -> None:
        """Servers do not let go of volumes that are to be deleted."""
        with self._compute() as compute:
            compute.delete_server(self._server)

    @property
    def _attachments(self) -> Sequence[ServerAttachment]:
        return self._scene.cloud.servers().attachments(self.volume_id)

    @contextmanager
    def _compute(self) -> Iterator[Compute]:
        with log_in(self._scene.devcloud, USER) as alice:
            yield Compute(alice.of("compute"))


def digest_of_files(image: Path) -> str:
    """Of the files in an ext4, by name and content; of a copy, as mounting writes. Of none without a file system."""
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        copy = Path(folder) / "image"
        _copy(image, copy)
        try:
            with loop_device(copy) as device, mounted_for_reading(device, "ext4") as root:
                for name in os.listdir(root):
                    if name != "lost+found":
                        with open(os.open(name, os.O_RDONLY, dir_fd=root), "rb") as file:
                            files[name] = file.read()
        except FileSystemError:
            return "no file system"
    return _digest(files)


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _copy(source: Path, target: Path) -> None:
    """Into the file that is there, if there is one, so that it stays the same file."""
    subprocess.run(["cp", "--sparse=always", str(source), str(target)], check=True)
