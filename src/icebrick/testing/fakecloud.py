"""Cinder in memory: states, refusals, quota and isolation of projects, without waiting.

Trusted because it passes the same contract as the real one (`cloud_contract`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from icebrick.cloud.base import (
    Attachment,
    Cloud,
    Group,
    GroupSnapshot,
    GroupSpec,
    Mode,
    Project,
    Transfer,
    Volume,
    VolumeSettings,
    VolumeSnapshot,
    VolumeSpec,
)
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.encryption import Encryption, VolumeKey
from icebrick.errors import AccessForbiddenError, CloudError, ResourceMissingError
from icebrick.run import HOST_KEY, RUN_KEY
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.fakegroups import FakeGroups
from icebrick.testing.fakekeys import FakeKeys
from icebrick.testing.fakerecords import ALPHA, DRIVER, GIB, FakeRecords, FakeView, check_metadata, require, told
from icebrick.testing.fakeservers import FakeServers
from icebrick.testing.faketransfers import FakeTransfers
from icebrick.testing.faultplan import FaultPlan


class FakeCloud(Cloud):
    """One project's view. `faults` makes calls fail, named as the methods; `records` may be looked into and changed.

    An `admin` is one of all projects. `elsewhere` are the other projects in which the user is a member; None for an
    application credential.
    """

    def __init__(
        self,
        records: FakeRecords | None = None,
        project: Project = ALPHA,
        *,
        admin: bool = False,
        elsewhere: tuple[Project, ...] | None = (),
    ) -> None:
        self.records = records or FakeRecords()
        self.faults = FaultPlan()
        self._project = project
        self._elsewhere = elsewhere
        self._view = FakeView(self.records, project, admin)
        self._groups = FakeGroups(self._view)
        self._transfers = FakeTransfers(self._view)
        self._keys = FakeKeys(self._view)

    def project(self) -> Project:
        return self._project

    def is_admin(self) -> bool:
        return self._view.admin

    def all_projects(self) -> Sequence[Project]:
        with self._call("all_projects"):
            self._view.require_admin("list all projects")
            return list(self.records.projects)

    @contextmanager
    def in_project(self, project_id: str) -> Iterator[Cloud]:
        with self._call("in_project"):
            if self._elsewhere is None:
                raise AccessForbiddenError("an application credential is bound to its project")
            project = next((project for project in self._elsewhere if project.id == project_id), None)
            if project is None:
                raise AccessForbiddenError(f"the user has no role in project {project_id}")
        scoped = FakeCloud(self.records, project)
        scoped.faults = self.faults
        yield scoped

    def servers(self) -> FakeServers:
        with self._call("servers"):
            return FakeServers(self._view, self.faults)

    def close(self) -> None:
        """Nothing to close; the real one has connections."""

    # For tests

    def set_status(self, resource_id: str, status: str) -> None:
        """As the back end, or an administrator, would."""
        with self.records.lock:
            of_kinds: tuple[dict[str, Any], ...] = (
                self.records.volumes,
                self.records.snapshots,
                self.records.groups,
                self.records.group_snapshots,
            )
            resources = next(resources for resources in of_kinds if resource_id in resources)
            resources[resource_id] = replace(resources[resource_id], status=status)

    def give_to_server(self, attachment_id: str, server_id: str) -> None:
        """As a compute service would have made the attachment."""
        with self.records.lock:
            attachment = self.records.attachments[attachment_id]
            self.records.attachments[attachment_id] = replace(attachment, server_id=server_id)

    def begin_connecting(self, attachment_id: str) -> None:
        """As a driver that is still at work when whoever asked for it dies: no record tells of what it has made."""
        with self.records.lock:
            self.records.exports[attachment_id] = self.records.attachments[attachment_id].volume_id

    def content(self, resource_id: str) -> BytesTarget:
        """The bytes of a volume or a volume snapshot."""
        return self.records.content[resource_id]

    # Encryption

    def find_encryption(self, volume_id: str) -> Encryption | None:
        with self._call("find_encryption"):
            return self._keys.find_encryption(volume_id)

    def get_key(self, encryption: Encryption) -> VolumeKey:
        with self._call("get_key"):
            return self._keys.get(encryption)

    # What there is to choose from

    def volume_types(self) -> Sequence[str]:
        with self._call("volume_types"):
            return sorted(self.records.volume_types)

    def availability_zones(self) -> Sequence[str]:
        with self._call("availability_zones"):
            return sorted(self.records.availability_zones)

    # Volumes

    def volumes(self) -> Sequence[Volume]:
        with self._call("volumes"):
            return [told(v) for v in self.records.volumes.values() if self._view.owns(v.project_id)]

    def all_volumes(self) -> Sequence[Volume]:
        with self._call("all_volumes"):
            self._view.require_admin("list the volumes of all projects")
            return [told(volume) for volume in self.records.volumes.values()]

    def get_volume(self, volume_id: str) -> Volume:
        with self._call("get_volume"):
            return told(self._view.volume(volume_id))

    def find_volume(self, volume_id: str) -> Volume | None:
        with self._call("find_volume"):
            volume = self._view.find_volume(volume_id)
            return told(volume) if volume else None

    def create_volume(self, spec: VolumeSpec) -> Volume:
        with self._call("create_volume"):
            self._check_chosen(spec)
            if spec.group_id is not None:
                self._check_may_join(spec.group_id, spec.volume_type)
            volume = Volume(
                id=str(uuid.uuid4()),
                name=spec.name,
                status="available",
                size=spec.size,
                description=spec.description,
                volume_type=spec.volume_type or "__DEFAULT__",
                availability_zone=spec.availability_zone or "nova",
                group_id=spec.group_id,
                metadata=spec.metadata,
                encrypted=self._keys.is_encrypted(spec.volume_type or ""),
            )
            kept = self._keep(volume, BytesTarget(spec.size * GIB))
            if volume.encrypted:
                self._keys.create(volume.id)
            return kept

    def create_clone(self, snapshot: VolumeSnapshot, *, name: str, metadata: Mapping[str, str]) -> Volume:
        with self._call("create_clone"):
            snapshot = self._view.snapshot(snapshot.id)
            require(snapshot.status == "available", f"volume snapshot {snapshot.id} is {snapshot.status}")
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
                notes={},
            )
            self._keys.share(origin.id, volume.id)
            return self._keep(volume, self.records.content[snapshot.id].copy())

    def apply_settings(self, volume_id: str, settings: VolumeSettings) -> Volume:
        with self._call("apply_settings"):
            volume = self._view.volume(volume_id)
            check_metadata(settings.metadata)
            tags = {key: volume.metadata[key] for key in (RUN_KEY, HOST_KEY) if key in volume.metadata}
            own = {key: value for key, value in settings.metadata.items() if key not in (RUN_KEY, HOST_KEY)}
            self.records.change_volume(
                volume_id,
                name=settings.name,
                description=settings.description,
                metadata=own | tags,
                image_metadata=dict(settings.image_metadata),
                bootable=settings.bootable,
                read_only=settings.read_only,
            )
            return told(self._view.volume(volume_id))

    def untag_volume(self, volume_id: str) -> None:
        with self._call("untag_volume"):
            metadata = self._view.volume(volume_id).metadata
            left = {key: value for key, value in metadata.items() if key not in (RUN_KEY, HOST_KEY)}
            self.records.change_volume(volume_id, metadata=left)

    def add_notes(self, volume_id: str, notes: Mapping[str, str]) -> None:
        with self._call("add_notes"):
            check_metadata(notes)
            self.records.change_volume(volume_id, notes={**self._view.volume(volume_id).notes, **notes})

    def remove_notes(self, volume_id: str, keys: Iterable[str]) -> None:
        with self._call("remove_notes"):
            volume = self._view.find_volume(volume_id)
            if volume is not None:
                left = {key: value for key, value in volume.notes.items() if key not in set(keys)}
                self.records.change_volume(volume_id, notes=left)

    def delete_volume(self, volume_id: str) -> None:
        with self._call("delete_volume"):
            self._delete_volume(volume_id, ("available", "error"))

    def force_delete_volume(self, volume_id: str) -> None:
        with self._call("force_delete_volume"):
            self._view.require_admin(f"force the deletion of volume {volume_id}")
            self._delete_volume(volume_id, None)

    # Volume snapshots

    def snapshots(self) -> Sequence[VolumeSnapshot]:
        with self._call("snapshots"):
            return [s for s in self.records.snapshots.values() if self._view.owns(s.project_id)]

    def all_snapshots(self) -> Sequence[VolumeSnapshot]:
        with self._call("all_snapshots"):
            self._view.require_admin("list the volume snapshots of all projects")
            return list(self.records.snapshots.values())

    def create_snapshot(self, volume_id: str, *, name: str, metadata: Mapping[str, str]) -> VolumeSnapshot:
        with self._call("create_snapshot"):
            volume = self._view.volume(volume_id)
            what = f"cannot create a volume snapshot of volume {volume_id}"
            require(volume.status in ("available", "in-use"), f"{what}: it is {volume.status}")
            check_metadata(metadata)
            self._view.charge(volume.size)
            snapshot = VolumeSnapshot(
                str(uuid.uuid4()), name, "available", volume_id, volume.size, self._project.id, dict(metadata)
            )
            self.records.snapshots[snapshot.id] = snapshot
            self.records.content[snapshot.id] = self.records.content[volume_id].copy()
            return snapshot

    def replace_snapshot_metadata(self, snapshot_id: str, metadata: Mapping[str, str]) -> None:
        with self._call("replace_snapshot_metadata"):
            check_metadata(metadata)
            snapshot = self._view.snapshot(snapshot_id)
            self.records.snapshots[snapshot_id] = replace(snapshot, metadata=dict(metadata))

    def delete_snapshot(self, snapshot_id: str) -> None:
        with self._call("delete_snapshot"):
            self._delete_snapshot(snapshot_id, ("available", "error"))

    def force_delete_snapshot(self, snapshot_id: str) -> None:
        with self._call("force_delete_snapshot"):
            self._view.require_admin(f"force the deletion of volume snapshot {snapshot_id}")
            self._delete_snapshot(snapshot_id, None)

    # Attachments

    def attachments(self, volume_id: str) -> Sequence[Attachment]:
        with self._call("attachments"):
            volume = self._view.find_volume(volume_id)
            return [a for a in self.records.attachments.values() if volume and a.volume_id == volume_id]

    def create_attachment(self, volume_id: str, mode: Mode) -> Attachment:
        with self._call("create_attachment"):
            volume = self._view.volume(volume_id)
            shared = volume.multiattach and volume.status == "in-use"
            require(volume.status == "available" or shared, f"cannot reserve volume {volume_id}: it is {volume.status}")
            attachment = Attachment(str(uuid.uuid4()), volume_id, "reserved")
            self.records.attachments[attachment.id] = attachment
            self.records.modes[attachment.id] = mode
            self.records.change_volume(volume_id, status="reserved")
            return attachment

    def connect_attachment(self, attachment_id: str, connector: ConnectorProperties, mode: Mode) -> Attachment:
        with self._call("connect_attachment"):
            attachment = self._attachment(attachment_id)
            told: dict[str, Any] = {"attachment_id": attachment_id, "volume_id": attachment.volume_id}
            attachment = replace(attachment, connection=ConnectionInfo(DRIVER, told, attachment.volume_id))
            self.records.attachments[attachment_id] = attachment
            self.records.exports[attachment_id] = attachment.volume_id
            return attachment

    def complete_attachment(self, attachment_id: str) -> None:
        with self._call("complete_attachment"):
            attachment = self._attachment(attachment_id)
            self.records.attachments[attachment_id] = replace(attachment, status="attached")
            self.records.change_volume(attachment.volume_id, status="in-use")

    def delete_attachment(self, attachment_id: str) -> None:
        with self._call("delete_attachment"):
            attachment = self.records.attachments.get(attachment_id)
            if attachment is None or self._view.find_volume(attachment.volume_id) is None:
                return
            del self.records.attachments[attachment_id], self.records.modes[attachment_id]
            if attachment.connection is not None:  # else the driver is told nothing
                self.records.exports.pop(attachment_id, None)
            others = [a for a in self.records.attachments.values() if a.volume_id == attachment.volume_id]
            self.records.change_volume(attachment.volume_id, status="in-use" if others else "available")

    # Groups

    def groups(self) -> Sequence[Group]:
        with self._call("groups"):
            return self._groups.where(self._view.owns)

    def all_groups(self) -> Sequence[Group]:
        with self._call("all_groups"):
            self._view.require_admin("list the groups of all projects")
            return self._groups.where(self._view.sees)

    def get_group(self, group_id: str) -> Group:
        with self._call("get_group"):
            return self._groups.get(group_id)

    def find_group(self, group_id: str) -> Group | None:
        with self._call("find_group"):
            return self._groups.find(group_id)

    def create_group(self, spec: GroupSpec) -> Group:
        with self._call("create_group"):
            return self._groups.create(spec)

    def update_group(self, group_id: str, *, name: str, description: str) -> Group:
        with self._call("update_group"):
            return self._groups.update(group_id, name=name, description=description)

    def add_to_group(self, group_id: str, volume_id: str) -> None:
        with self._call("add_to_group"):
            self._groups.add(group_id, volume_id)

    def remove_from_group(self, volume_id: str) -> None:
        with self._call("remove_from_group"):
            self._groups.remove(volume_id)

    def delete_group(self, group_id: str) -> None:
        with self._call("delete_group"):
            self._groups.delete(group_id)

    def force_delete_group(self, group_id: str) -> None:
        with self._call("force_delete_group"):
            self._view.require_admin(f"force the deletion of group {group_id}")
            self._groups.delete(group_id, force=True)

    # Group snapshots

    def group_snapshots(self) -> Sequence[GroupSnapshot]:
        with self._call("group_snapshots"):
            return self._groups.snapshots_where(self._view.owns)

    def all_group_snapshots(self) -> Sequence[GroupSnapshot]:
        with self._call("all_group_snapshots"):
            self._view.require_admin("list the group snapshots of all projects")
            return self._groups.snapshots_where(self._view.sees)

    def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> GroupSnapshot:
        with self._call("create_group_snapshot"):
            return self._groups.create_snapshot(group_id, name=name, description=description)

    def delete_group_snapshot(self, group_snapshot_id: str) -> None:
        with self._call("delete_group_snapshot"):
            self._groups.delete_snapshot(group_snapshot_id)

    def force_delete_group_snapshot(self, group_snapshot_id: str) -> None:
        with self._call("force_delete_group_snapshot"):
            self._view.require_admin(f"force the deletion of group snapshot {group_snapshot_id}")
            self._groups.delete_snapshot(group_snapshot_id, force=True)

    # Transfers

    def transfers(self) -> Sequence[Transfer]:
        with self._call("transfers"):
            return self._transfers.where(self._view.owns)

    def all_transfers(self) -> Sequence[Transfer]:
        with self._call("all_transfers"):
            self._view.require_admin("list the transfers of all projects")
            return self._transfers.where(self._view.sees)

    def create_transfer(self, volume_id: str, *, name: str) -> Transfer:
        with self._call("create_transfer"):
            return self._transfers.create(volume_id, name=name)

    def accept_transfer(self, transfer: Transfer) -> Volume:
        with self._call("accept_transfer"):
            self._transfers.accept(transfer)
            self._keys.take(transfer.volume_id)
            return told(self._view.volume(transfer.volume_id))

    def delete_transfer(self, transfer_id: str) -> None:
        with self._call("delete_transfer"):
            self._transfers.delete(transfer_id)

    # How it is done

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        with self.faults.around(name), self.records.lock:
            yield

    def _attachment(self, attachment_id: str) -> Attachment:
        attachment = self.records.attachments.get(attachment_id)
        if attachment is None or self._view.find_volume(attachment.volume_id) is None:
            raise ResourceMissingError(f"attachment {attachment_id} could not be found")
        return attachment

    def _check_chosen(self, spec: VolumeSpec) -> None:
        if spec.volume_type is not None:
            self._groups.check_volume_type(spec.volume_type)
        if spec.availability_zone not in (None, *self.records.availability_zones):
            raise CloudError(f"availability zone {spec.availability_zone} is invalid")

    def _check_may_join(self, group_id: str, volume_type: str | None) -> None:
        group = self._groups.get(group_id)
        if volume_type not in group.volume_types:
            raise CloudError(f"cannot create a volume of type {volume_type} in group {group_id}")

    def _keep(self, volume: Volume, content: BytesTarget) -> Volume:
        check_metadata(volume.metadata)
        self._view.charge(volume.size)
        volume = replace(
            volume,
            project_id=self._project.id,
            metadata=dict(volume.metadata),
            created_at=datetime.now(UTC),
        )
        self.records.volumes[volume.id] = volume
        self.records.content[volume.id] = content
        return told(volume)

    def _delete_volume(self, volume_id: str, deletable: tuple[str, ...] | None) -> None:
        """From the deletable states, None for all."""
        volume = self._view.find_volume(volume_id)
        if volume is None:
            return
        what = f"cannot delete volume {volume_id}"
        attached = any(attachment.volume_id == volume_id for attachment in self.records.attachments.values())
        require(deletable is None or volume.status in deletable, f"{what}: it is {volume.status}")
        require(not attached, f"{what}: it is attached")
        require(volume.group_id is None, f"{what}: it is in group {volume.group_id}")
        snapshots = [s.id for s in self.records.snapshots.values() if s.volume_id == volume_id]
        require(not snapshots, f"{what}: it has volume snapshots")
        del self.records.volumes[volume_id], self.records.content[volume_id]
        self._keys.delete(volume_id)
        exports = self.records.exports
        for attachment_id in [each for each, exported in exports.items() if exported == volume_id]:
            del exports[attachment_id]

    def _delete_snapshot(self, snapshot_id: str, deletable: tuple[str, ...] | None) -> None:
        """From the deletable states, None for all."""
        snapshot = self._view.find_snapshot(snapshot_id)
        if snapshot is None:
            return
        what = f"cannot delete volume snapshot {snapshot_id}"
        require(deletable is None or snapshot.status in deletable, f"{what}: it is {snapshot.status}")
        group_snapshot_id = snapshot.group_snapshot_id
        require(group_snapshot_id is None, f"{what}: it is part of group snapshot {group_snapshot_id}")
        del self.records.snapshots[snapshot_id], self.records.content[snapshot_id]
