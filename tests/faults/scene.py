"""Where the kills happen: a devcloud with volumes that are backed up, and a look at all that a killed run may leave."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from tests.faults.content import digest_of
from tests.faults.stepping import Command
from tests.faults.victim import run

from icebrick.backend.layout import is_temporary
from icebrick.backend.local import LocalBackend
from icebrick.cloud.base import Cloud, GroupSpec, Mode, Volume, VolumeSnapshot, VolumeSpec
from icebrick.cloud.session import connect
from icebrick.cloud.temporary import part_and_delete
from icebrick.connection import ConnectorProperties
from icebrick.devcloud.devcloud import Devcloud, Footprint
from icebrick.run import HOST_KEY, RUN_KEY
from icebrick.testing.images import PASSWORD, small_repository

S = TypeVar("S")

USER = "alice"
_MIB = 1 << 20
_GUEST = ConnectorProperties({"host": "guest", "ip": "127.0.0.1", "initiator": "iqn.1993-08.org.debian:01:guest"})
_SPOTS = (0, 2 * _MIB, 5 * _MIB, 7 * _MIB)
"""Offsets in the volumes at which there is data, a mebibyte each."""


@dataclass(frozen=True, slots=True)
class Left:
    """How much is there that was not there before, of each kind that a dead run can leave."""

    volumes: int = 0
    snapshots: int = 0
    attachments: int = 0
    loops: int = 0
    mounts: int = 0
    connections: int = 0
    """Sessions, node records, disks, maps and targets of iSCSI."""
    files: int = 0
    """Of volumes and volume snapshots, in the pool."""
    unfinished: int = 0
    """Files of the repository whose save was cut short."""
    locks: int = 0
    notes: int = 0
    """Of runs that were killed. They outlive the recovery by design: Cinder may still begin what it was asked for."""

    @property
    def is_clear(self) -> bool:
        """Whether there is nothing but notes."""
        return not any(astuple(replace(self, notes=0)))


@dataclass(frozen=True, slots=True)
class Desk:
    """What one cell has for itself: a repository. `notes` are those of earlier kills."""

    folder: Path
    notes: frozenset[str] = frozenset()

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def output(self) -> Path:
        return self.folder / "output"


@dataclass(frozen=True, slots=True)
class Volumes:
    """`used` is attached to a guest that has gone on writing since its backup; `gone` was backed up and deleted."""

    used: str
    gone: str
    used_backup: str
    """Digests of what the backups hold."""
    gone_backup: str
    group: str | None = None
    """None where the storage cannot freeze a group at one instant."""
    members: tuple[str, ...] = ()
    """Of the group; they have never been backed up."""


class Scene:
    """Volumes in a devcloud, and a repository with a backup of each. Everything else is what a run has left."""

    def __init__(self, devcloud: Devcloud, folder: Path, cloud: Cloud) -> None:
        self.cloud = cloud
        self.devcloud = devcloud
        self.folder = folder
        self._state = folder / "state"
        self._template = Desk(folder / "template")
        self.volumes = self._prepare()
        self._used = cloud.get_volume(self.volumes.used)
        self._attachments = [attachment.id for attachment in cloud.attachments(self.volumes.used)]
        self._footprint: Footprint = devcloud.footprint()
        self.used_now = digest_of(self.file_of(self.volumes.used))
        self.images: dict[str, str] = {}
        """Digests of what further volumes hold, by id, of which images may have been backed up."""
        self._adopted: list[str] = []
        self._subjects: dict[Callable[[Scene], Any], Any] = {}

    def subject(self, kind: Callable[[Scene], S]) -> S:
        """The one of this kind, made when it is asked for first; only while nothing else is there."""
        if kind not in self._subjects:
            self._subjects[kind] = kind(self)
        found: S = self._subjects[kind]
        return found

    def adopt(self, *volume_ids: str) -> None:
        """These volumes, as they are now, belong to the scene from now on."""
        self._adopted += volume_ids
        self._footprint = self.devcloud.footprint()

    def back_up_for_all(self, *arguments: str) -> None:
        """Into the repository that all later desks begin with."""
        run(self.command(self._template, *arguments))

    def desk(self, name: str) -> Desk:
        """A fresh one: what was done at another is not seen at it."""
        desk = Desk(self.folder / name, frozenset(self.notes()))
        shutil.copytree(self._template.repository, desk.repository)
        return desk

    def command(self, desk: Desk, *arguments: str) -> Command:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment = {
            **kept,
            "OS_CLIENT_CONFIG_FILE": str(self.devcloud.clouds_yaml),
            "OS_CLOUD": USER,
            "RESTIC_REPOSITORY": str(desk.repository),
            "RESTIC_PASSWORD": PASSWORD.reveal(),
            "ICEBRICK_STATE_DIR": str(self._state),
            "ICEBRICK_READER": "host",
        }
        return Command(arguments, environment, desk.output)

    def file_of(self, volume_id: str) -> Path:
        """The volume's bytes in the pool."""
        return self.devcloud.volume_path(volume_id)

    def digest_of_snapshot(self, snapshot: VolumeSnapshot) -> str:
        """Of the bytes of a volume that is made from it, and goes again."""
        volume = self.cloud.create_clone(snapshot, name="look", metadata={})
        try:
            return digest_of(self.file_of(volume.id))
        finally:
            self.cloud.delete_volume(volume.id)

    def notes(self) -> list[str]:
        """Ids of the runs that this host has notes of."""
        return [path.name for path in (self._state / "runs").glob("*")]

    def age_notes(self) -> None:
        """As if an hour had passed since a recovery found that their runs have left nothing."""
        for path in (self._state / "runs").glob("*"):
            note = json.loads(path.read_text())
            if "cleared" in note:
                note["cleared"] = str(datetime.fromisoformat(note["cleared"]) - timedelta(hours=1))
                path.write_text(json.dumps(note))

    def age_unfinished_files(self, desk: Desk) -> bool:
        """As if years had passed, and nobody could still be saving them. Whether there are any."""
        files = _unfinished_files(desk.repository)
        for path in files:
            os.utime(path, (0, 0))
        return bool(files)

    def new_volumes(self) -> list[Volume]:
        known = {self.volumes.used, *self.volumes.members, *self._adopted}
        return [volume for volume in self.cloud.volumes() if volume.id not in known]

    def left(self, desk: Desk) -> Left:
        """What there is too much of now."""
        volumes = self.new_volumes()
        attachments = [
            one.id
            for volume in self.cloud.volumes()
            for one in self.cloud.attachments(volume.id)
            if one.server_id is None  # those of servers come and go with --cold
        ]
        leaks = self.leaks()
        return Left(
            volumes=len(volumes),
            snapshots=len(self.cloud.snapshots()) + len(self.cloud.group_snapshots()),
            attachments=len(set(attachments) - set(self._attachments)),
            loops=len(leaks.loops),
            mounts=len(leaks.mounts),
            connections=len(leaks.connections),
            files=len(leaks.files),
            unfinished=len(_unfinished_files(desk.repository)),
            locks=sum(not is_temporary(path.name) for path in (desk.repository / "locks").iterdir()),
            notes=len(set(self.notes()) - desk.notes),
        )

    def leaks(self) -> Footprint:
        """What there is too much of on this host. A server may have its volume as another device again."""
        leaks, now = self.devcloud.leaks(self._footprint), self.devcloud.footprint()
        more = Counter(loop.file for loop in now.loops) - Counter(loop.file for loop in self._footprint.loops)
        return replace(leaks, loops=frozenset(loop for loop in leaks.loops if more[loop.file]))

    def problems_of_the_volume_in_use(self) -> Iterator[str]:
        now = self.cloud.get_volume(self.volumes.used)
        if _without_times(now.record) != _without_times(self._used.record):
            yield f"the record of volume {now.id} has changed"
        if [one.id for one in self.cloud.attachments(now.id)] != self._attachments:
            yield f"the attachments of volume {now.id} have changed"
        if digest_of(self.file_of(now.id)) != self.used_now:
            yield f"the content of volume {now.id} has changed"
        for device in (loop.device for loop in self._footprint.loops if loop.file.endswith(now.id)):
            with open(device, "rb") as guest:
                if guest.read(_MIB) == bytes(_MIB):
                    yield f"the guest of volume {now.id} no longer reads its data"

    def take_finished(self, digest: Callable[[Path], str] = digest_of) -> list[str]:
        """Remove new volumes that nothing marks as a run's and nobody uses; the digests of what they held."""
        digests = []
        for volume in self.new_volumes():
            if not {RUN_KEY, HOST_KEY} & set(volume.metadata) and volume.status == "available":
                digests.append(digest(self.file_of(volume.id)))
                self.cloud.delete_volume(volume.id)
        return digests

    def sweep(self) -> None:
        """Remove whatever is left, so that the next cell does not find it."""
        self.devcloud.set_faults()
        for volume in self.new_volumes():
            for attachment in self.cloud.attachments(volume.id):
                self.cloud.delete_attachment(attachment.id)
            self.cloud.delete_volume(volume.id)
        for taken in self.cloud.group_snapshots():
            self.cloud.delete_group_snapshot(taken.id)
        for snapshot in self.cloud.snapshots():
            self.cloud.delete_snapshot(snapshot.id)

    def close(self) -> None:
        for subject in self._subjects.values():
            subject.close()
        for volume_id in self._adopted:
            self.cloud.delete_volume(volume_id)
        for volume_id in self.volumes.members:
            part_and_delete(self.cloud, volume_id)
        if self.volumes.group is not None:
            self.cloud.delete_group(self.volumes.group)
        for attachment_id in self._attachments:
            self.cloud.delete_attachment(attachment_id)
        self.cloud.delete_volume(self.volumes.used)

    def _prepare(self) -> Volumes:
        self._template.repository.mkdir(parents=True)
        with closing(LocalBackend(self._template.repository)) as backend:
            backend.create()
            small_repository(backend)
        used = self.cloud.create_volume(VolumeSpec("used", 1, metadata={"purpose": "payroll"})).id
        gone = self.cloud.create_volume(VolumeSpec("gone", 1, description="old", metadata={"tier": "2"})).id
        device = self._attach(used)
        _write(device, _SPOTS)
        with self.attached(gone) as gone_device:
            _write(gone_device, _SPOTS[1:])
        digests = [digest_of(self.file_of(volume_id)) for volume_id in (used, gone)]
        run(self.command(self._template, "backup", "--single-volume-id", used, "--single-volume-id", gone))
        self.cloud.delete_volume(gone)
        _write(device, _SPOTS[1:2])  # one block: two might go into one pack or into two, and steps would vary
        if self.devcloud.layout.pool.is_mount():  # a file system that freezes, and not LVM
            return Volumes(used, gone, *digests, *self._prepare_group())
        return Volumes(used, gone, *digests)

    def _prepare_group(self) -> tuple[str, tuple[str, ...]]:
        """Its id, and its members'."""
        volume_type = self.cloud.volume_types()[0]
        group = self.cloud.create_group(GroupSpec("database", "consistent", (volume_type,))).id
        members = [VolumeSpec(name, 1, volume_type=volume_type, group_id=group) for name in ("data", "journal")]
        made = tuple(self.cloud.create_volume(member).id for member in members)
        for volume_id in made:
            with self.attached(volume_id) as device:
                _write(device, _SPOTS[:1])
        return group, made

    def _attach(self, volume_id: str) -> Path:
        attachment = self.cloud.create_attachment(volume_id, Mode.WRITE)
        connected = self.cloud.connect_attachment(attachment.id, _GUEST, Mode.WRITE)
        self.cloud.complete_attachment(attachment.id)
        assert connected.connection is not None
        path = connected.connection.data.get("device_path")
        # What is no device of this host is written where it is stored.
        return self.file_of(volume_id) if path is None else Path(str(path))

    @contextmanager
    def attached(self, volume_id: str) -> Iterator[Path]:
        """The device, for a guest."""
        yield self._attach(volume_id)
        for attachment in self.cloud.attachments(volume_id):
            self.cloud.delete_attachment(attachment.id)


@contextmanager
def open_scene(devcloud: Devcloud, folder: Path) -> Iterator[Scene]:
    """At the end the devcloud is as it was."""
    with _logged_in(devcloud) as cloud:
        scene = Scene(devcloud, folder, cloud)
        try:
            yield scene
        finally:
            scene.sweep()
            scene.close()


@contextmanager
def _logged_in(devcloud: Devcloud) -> Iterator[Cloud]:
    name = "OS_CLIENT_CONFIG_FILE"
    before = os.environ.get(name)
    os.environ[name] = str(devcloud.clouds_yaml)
    try:
        cloud = connect(USER)
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
    with closing(cloud):
        yield cloud


def _write(device: Path, spots: tuple[int, ...]) -> None:
    with device.open("r+b", buffering=0) as disk:
        for spot in spots:
            disk.seek(spot)
            disk.write(os.urandom(_MIB))
        os.fsync(disk.fileno())


def _unfinished_files(repository: Path) -> list[Path]:
    return [path for path in repository.rglob("*") if is_temporary(path.name)]


def _without_times(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "updated_at"}
