"""Cinder in memory: states, refusals, quota and isolation of projects, without waiting.

Trusted because it passes the same contract as the real one (`cloud_contract`).
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from icebrick.cloud.base import (
    Attachment,
    Cloud,
    Mode,
    Project,
    Volume,
    VolumeSettings,
    VolumeSnapshot,
    VolumeSpec,
)
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.errors import CloudError, QuotaError, ResourceMissingError, UnexpectedStateError
from icebrick.run import HOST_KEY, RUN_KEY
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.faultplan import FaultPlan

GIB = 1 << 30
DRIVER = "fake"
ALPHA = Project("a1fa0000000000000000000000000000", "alpha")
BETA = Project("be7a0000000000000000000000000000", "beta")

_METADATA_KEY = re.compile(r"[a-zA-Z0-9-_:. /]{1,255}")


@dataclass(slots=True)
class FakeRecords:
    """What is behind one or several FakeClouds: all projects' resources and their content."""

    volumes: dict[str, Volume] = field(default_factory=dict)
    content: dict[str, BytesTarget] = field(default_factory=dict)
    """By volume id or snapshot id."""
    snapshots: dict[str, VolumeSnapshot] = field(default_factory=dict)
    attachments: dict[str, Attachment] = field(default_factory=dict)
    modes: dict[str, Mode] = field(default_factory=dict)
    """By attachment id."""
    quota: int = 1000
    """Of each project, for volumes and volume snapshots together, in GiB."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Guards all of it."""


class FakeCloud(Cloud):
    """One project's view. `faults` makes calls fail, named as the methods; `records` may be looked into and changed."""

    def __init__(self, records: FakeRecords | None = None, project: Project = ALPHA) -> None:
        self.records = records or FakeRecords()
        self.faults = FaultPlan()
        self._project = project

    def project(self) -> Project:
        return self._project

    def close(self) -> None:
        """Nothing to close; the real one has connections."""

    # For tests

    def set_status(self, resource_id: str, status: str) -> None:
        """As the back end, or an administrator, would."""
        with self.records.lock:
            if resource_id in self.records.volumes:
                self._change(resource_id, status=status)
            else:
                snapshot = self.records.snapshots[resource_id]
                self.records.snapshots[resource_id] = replace(snapshot, status=status)

    def give_to_server(self, attachment_id: str, server_id: str) -> None:
        """As a compute service would have made the attachment."""
        with self.records.lock:
            attachment = self.records.attachments[attachment_id]
            self.records.attachments[attachment_id] = replace(attachment, server_id=server_id)

    def content(self, resource_id: str) -> BytesTarget:
        """The bytes of a volume or a volume snapshot."""
        return self.records.content[resource_id]

    # Volumes

    def volumes(self) -> Sequence[Volume]:
        with self._call("volumes"):
            return [self._told(v) for v in self.records.volumes.values() if v.project_id == self._project.id]

    def get_volume(self, volume_id: str) -> Volume:
        with self._call("get_volume"):
            return self._told(self._volume(volume_id))

    def find_volume(self, volume_id: str) -> Volume | None:
        with self._call("find_volume"):
            volume = self._mine(volume_id)
            return self._told(volume) if volume else None

    def create_volume(self, spec: VolumeSpec) -> Volume:
        with self._call("create_volume"):
            volume = Volume(
                id=str(uuid.uuid4()),
                name=spec.name,
                status="available",
                size=spec.size,
                description=spec.description,
                volume_type=spec.volume_type or "__DEFAULT__",
                availability_zone=spec.availability_zone or "nova",
                metadata=spec.metadata,
            )
            return self._keep(volume, BytesTarget(spec.size * GIB))

    def create_clone(self, snapshot: VolumeSnapshot, *, name: str, metadata: Mapping[str, str]) -> Volume:
        with self._call("create_clone"):
            snapshot = self._snapshot(snapshot.id)
            _require(snapshot.status == "available", f"volume snapshot {snapshot.id} is {snapshot.status}")
            origin = self.records.volumes[snapshot.volume_id]
            volume = replace(
                origin,
                id=str(uuid.uuid4()),
                name=name,
                description="",
                status="available",
                size=snapshot.size,
                read_only=False,
                group_id=None,
                metadata=metadata,
            )
            return self._keep(volume, self.records.content[snapshot.id].copy())

    def apply_settings(self, volume_id: str, settings: VolumeSettings) -> Volume:
        with self._call("apply_settings"):
            volume = self._volume(volume_id)
            _check_metadata(settings.metadata)
            tags = {key: volume.metadata[key] for key in (RUN_KEY, HOST_KEY) if key in volume.metadata}
            own = {key: value for key, value in settings.metadata.items() if key not in (RUN_KEY, HOST_KEY)}
            self._change(
                volume_id,
                name=settings.name,
                description=settings.description,
                metadata=own | tags,
                image_metadata=dict(settings.image_metadata),
                bootable=settings.bootable,
                read_only=settings.read_only,
            )
            return self._told(self._volume(volume_id))

    def untag_volume(self, volume_id: str) -> None:
        with self._call("untag_volume"):
            metadata = self._volume(volume_id).metadata
            left = {key: value for key, value in metadata.items() if key not in (RUN_KEY, HOST_KEY)}
            self._change(volume_id, metadata=left)

    def delete_volume(self, volume_id: str) -> None:
        with self._call("delete_volume"):
            volume = self._mine(volume_id)
            if volume is None:
                return
            what = f"cannot delete volume {volume_id}"
            _require(volume.status in ("available", "error"), f"{what}: it is {volume.status}")
            busy = [s.id for s in self.records.snapshots.values() if s.volume_id == volume_id]
            _require(not busy, f"{what}: it has volume snapshots")
            del self.records.volumes[volume_id], self.records.content[volume_id]

    # Volume snapshots

    def snapshots(self) -> Sequence[VolumeSnapshot]:
        with self._call("snapshots"):
            return [s for s in self.records.snapshots.values() if s.project_id == self._project.id]

    def create_snapshot(self, volume_id: str, *, name: str, metadata: Mapping[str, str]) -> VolumeSnapshot:
        with self._call("create_snapshot"):
            volume = self._volume(volume_id)
            what = f"cannot create a volume snapshot of volume {volume_id}"
            _require(volume.status in ("available", "in-use"), f"{what}: it is {volume.status}")
            _check_metadata(metadata)
            self._charge(volume.size)
            snapshot = VolumeSnapshot(
                str(uuid.uuid4()), name, "available", volume_id, volume.size, self._project.id, dict(metadata)
            )
            self.records.snapshots[snapshot.id] = snapshot
            self.records.content[snapshot.id] = self.records.content[volume_id].copy()
            return snapshot

    def delete_snapshot(self, snapshot_id: str) -> None:
        with self._call("delete_snapshot"):
            snapshot = self.records.snapshots.get(snapshot_id)
            if snapshot is None or snapshot.project_id != self._project.id:
                return
            deletable = snapshot.status in ("available", "error")
            _require(deletable, f"cannot delete volume snapshot {snapshot_id}: it is {snapshot.status}")
            del self.records.snapshots[snapshot_id], self.records.content[snapshot_id]

    # Attachments

    def attachments(self, volume_id: str) -> Sequence[Attachment]:
        with self._call("attachments"):
            volume = self._mine(volume_id)
            return [a for a in self.records.attachments.values() if volume and a.volume_id == volume_id]

    def create_attachment(self, volume_id: str, mode: Mode) -> Attachment:
        with self._call("create_attachment"):
            volume = self._volume(volume_id)
            shared = volume.multiattach and volume.status == "in-use"
            _require(
                volume.status == "available" or shared, f"cannot reserve volume {volume_id}: it is {volume.status}"
            )
            attachment = Attachment(str(uuid.uuid4()), volume_id, "reserved")
            self.records.attachments[attachment.id] = attachment
            self.records.modes[attachment.id] = mode
            self._change(volume_id, status="reserved")
            return attachment

    def connect_attachment(self, attachment_id: str, connector: ConnectorProperties, mode: Mode) -> Attachment:
        with self._call("connect_attachment"):
            attachment = self._attachment(attachment_id)
            told: dict[str, Any] = {"attachment_id": attachment_id, "volume_id": attachment.volume_id}
            attachment = replace(attachment, connection=ConnectionInfo(DRIVER, told))
            self.records.attachments[attachment_id] = attachment
            return attachment

    def complete_attachment(self, attachment_id: str) -> None:
        with self._call("complete_attachment"):
            attachment = self._attachment(attachment_id)
            self.records.attachments[attachment_id] = replace(attachment, status="attached")
            self._change(attachment.volume_id, status="in-use")

    def delete_attachment(self, attachment_id: str) -> None:
        with self._call("delete_attachment"):
            attachment = self.records.attachments.get(attachment_id)
            if attachment is None or self._mine(attachment.volume_id) is None:
                return
            del self.records.attachments[attachment_id], self.records.modes[attachment_id]
            others = [a for a in self.records.attachments.values() if a.volume_id == attachment.volume_id]
            self._change(attachment.volume_id, status="in-use" if others else "available")

    # How it is done

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        with self.faults.around(name), self.records.lock:
            yield

    def _mine(self, volume_id: str) -> Volume | None:
        volume = self.records.volumes.get(volume_id)
        return volume if volume and volume.project_id == self._project.id else None

    def _volume(self, volume_id: str) -> Volume:
        volume = self._mine(volume_id)
        if volume is None:
            raise ResourceMissingError(f"volume {volume_id} could not be found")
        return volume

    def _snapshot(self, snapshot_id: str) -> VolumeSnapshot:
        snapshot = self.records.snapshots.get(snapshot_id)
        if snapshot is None or snapshot.project_id != self._project.id:
            raise ResourceMissingError(f"volume snapshot {snapshot_id} could not be found")
        return snapshot

    def _attachment(self, attachment_id: str) -> Attachment:
        attachment = self.records.attachments.get(attachment_id)
        if attachment is None or self._mine(attachment.volume_id) is None:
            raise ResourceMissingError(f"attachment {attachment_id} could not be found")
        return attachment

    def _keep(self, volume: Volume, content: BytesTarget) -> Volume:
        _check_metadata(volume.metadata)
        self._charge(volume.size)
        volume = replace(
            volume,
            project_id=self._project.id,
            metadata=dict(volume.metadata),
            created_at=datetime.now(UTC),
        )
        self.records.volumes[volume.id] = volume
        self.records.content[volume.id] = content
        return self._told(volume)

    def _change(self, volume_id: str, **changes: Any) -> None:
        self.records.volumes[volume_id] = replace(self.records.volumes[volume_id], **changes)

    def _told(self, volume: Volume) -> Volume:
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
            "metadata": dict(volume.metadata),
            "volume_image_metadata": dict(volume.image_metadata),
            "os-vol-tenant-attr:tenant_id": volume.project_id,
        }
        return replace(volume, record=record)

    def _charge(self, size: int) -> None:
        volumes = [v.size for v in self.records.volumes.values() if v.project_id == self._project.id]
        snapshots = [s.size for s in self.records.snapshots.values() if s.project_id == self._project.id]
        if sum(volumes) + sum(snapshots) + size > self.records.quota:
            raise QuotaError(f"cannot make {size} GiB more: the quota is {self.records.quota} GiB")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise UnexpectedStateError(otherwise)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        if not _METADATA_KEY.fullmatch(key) or len(value) > 255:
            raise CloudError(f"invalid metadata {key[:40]}: {_METADATA_KEY.pattern}, and values up to 255 characters")
