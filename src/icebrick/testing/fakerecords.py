"""What is behind the fakes of Cinder: every project's resources, and what one login sees of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from icebrick.cloud.base import (
    Attachment,
    Group,
    GroupSnapshot,
    Mode,
    Project,
    Transfer,
    Volume,
    VolumeSnapshot,
)
from icebrick.cloud.servers import ServerAttachment
from icebrick.errors import (
    AccessForbiddenError,
    CloudError,
    QuotaError,
    ResourceMissingError,
    UnexpectedStateError,
)
from icebrick.secret import Secret
from icebrick.testing.bytesdevice import BytesTarget

GIB = 1 << 30
DRIVER = "fake"
ALPHA = Project("a1fa0000000000000000000000000000", "alpha")
BETA = Project("be7a0000000000000000000000000000", "beta")
SERVICE = Project("5e41ce00000000000000000000000000", "service")

_METADATA_KEY = re.compile(r"[a-zA-Z0-9-_:. /]{1,255}")


@dataclass(slots=True)
class FakeServer:
    """A virtual machine, which runs nothing. `disks` are by volume id."""

    id: str
    project_id: str
    root: str
    """The id of the volume it starts from, which it never lets go."""
    disks: dict[str, ServerAttachment] = field(default_factory=dict)
    locked: bool = False


@dataclass(frozen=True, slots=True)
class FakeKey:
    """A secret of the key manager, for the members of one project."""

    project_id: str
    passphrase: Secret


@dataclass(slots=True)
class FakeRecords:
    """What is behind one or several FakeClouds: all projects' resources and their content."""

    projects: tuple[Project, ...] = (ALPHA, BETA, SERVICE)
    volumes: dict[str, Volume] = field(default_factory=dict)
    content: dict[str, BytesTarget] = field(default_factory=dict)
    """By volume id or snapshot id."""
    snapshots: dict[str, VolumeSnapshot] = field(default_factory=dict)
    attachments: dict[str, Attachment] = field(default_factory=dict)
    modes: dict[str, Mode] = field(default_factory=dict)
    """By attachment id."""
    exports: dict[str, str] = field(default_factory=dict)
    """Ids of the volumes that the back end shows to hosts, by attachment id, whether or not a record tells so."""
    groups: dict[str, Group] = field(default_factory=dict)
    """Without their members, which the volumes tell."""
    group_snapshots: dict[str, GroupSnapshot] = field(default_factory=dict)
    """Without their snapshots, which tell so themselves."""
    transfers: dict[str, Transfer] = field(default_factory=dict)
    servers: dict[str, FakeServer] = field(default_factory=dict)
    volume_types: set[str] = field(default_factory=lambda: {"__DEFAULT__"})
    encrypted_types: dict[str, str] = field(default_factory=lambda: {"luks": "luks", "luks2": "luks2"})
    """Names of those among the volume types that are encrypted, if any are, and their providers."""
    keys: dict[str, FakeKey] = field(default_factory=dict)
    """By their ids."""
    key_ids: dict[str, str] = field(default_factory=dict)
    """Of volumes and volume snapshots, by the ids of those."""
    availability_zones: set[str] = field(default_factory=lambda: {"nova"})
    group_types: dict[str, bool] = field(default_factory=lambda: {"consistent": True, "independent": False})
    """Names, and whether group snapshots are of one instant."""
    quota: int = 1000
    """Of each project, for volumes and volume snapshots together, in GiB."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Guards all of it."""

    def members(self, group_id: str) -> list[Volume]:
        """The group's volumes, by id."""
        return sorted((v for v in self.volumes.values() if v.group_id == group_id), key=lambda volume: volume.id)

    def change_volume(self, volume_id: str, **changes: Any) -> None:
        self.volumes[volume_id] = replace(self.volumes[volume_id], **changes)


@dataclass(frozen=True, slots=True)
class FakeView:
    """One login's view: the fakes of volumes, groups and transfers look through the same. Under the records' lock."""

    records: FakeRecords
    project: Project
    admin: bool

    def owns(self, project_id: str) -> bool:
        return project_id == self.project.id

    def sees(self, project_id: str) -> bool:
        return self.admin or self.owns(project_id)

    def require_admin(self, doing: str) -> None:
        if not self.admin:
            raise AccessForbiddenError(f"cannot {doing}: only an administrator may")

    def find_volume(self, volume_id: str) -> Volume | None:
        volume = self.records.volumes.get(volume_id)
        return volume if volume and self.sees(volume.project_id) else None

    def volume(self, volume_id: str) -> Volume:
        volume = self.find_volume(volume_id)
        if volume is None:
            raise ResourceMissingError(f"volume {volume_id} could not be found")
        return volume

    def find_snapshot(self, snapshot_id: str) -> VolumeSnapshot | None:
        snapshot = self.records.snapshots.get(snapshot_id)
        return snapshot if snapshot and self.sees(snapshot.project_id) else None

    def snapshot(self, snapshot_id: str) -> VolumeSnapshot:
        snapshot = self.find_snapshot(snapshot_id)
        if snapshot is None:
            raise ResourceMissingError(f"volume snapshot {snapshot_id} could not be found")
        return snapshot

    def charge(self, size: int) -> None:
        """QuotaError when the project has not so many GiB left."""
        volumes = [v.size for v in self.records.volumes.values() if self.owns(v.project_id)]
        snapshots = [s.size for s in self.records.snapshots.values() if self.owns(s.project_id)]
        if sum(volumes) + sum(snapshots) + size > self.records.quota:
            raise QuotaError(f"cannot make {size} GiB more: the quota is {self.records.quota} GiB")


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise UnexpectedStateError(otherwise)


def check_metadata(metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        if not _METADATA_KEY.fullmatch(key) or len(value) > 255:
            raise CloudError(f"invalid metadata {key[:40]}: {_METADATA_KEY.pattern}, and values up to 255 characters")


def told(volume: Volume) -> Volume:
    """With the raw record that a real Cinder would answer."""
    record = {
        "id": volume.id,
        "name": volume.name,
        "status": volume.status,
        "size": volume.size,
        "description": volume.description,
        "volume_type": volume.volume_type,
        "availability_zone": volume.availability_zone,
        "bootable": str(volume.bootable).lower(),
        "encrypted": volume.encrypted,
        "metadata": dict(volume.metadata),
        "volume_image_metadata": dict(volume.image_metadata),
        "os-vol-tenant-attr:tenant_id": volume.project_id,
        "group_id": volume.group_id,
    }
    return replace(volume, record=record)
