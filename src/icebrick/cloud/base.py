"""What workflows may ask of a cloud, and the values they get back.

Methods return when the resource is ready, or raise; callers never poll. A failed create deletes what it made.
Deleting what is gone is no error. All raise CloudUnavailableError when OpenStack does not answer,
AccessForbiddenError when this user may not, ResourceMissingError when what they name is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from icebrick.connection import ConnectionInfo, ConnectorProperties


class Mode(Enum):
    """How an attachment may be used."""

    READ = "ro"
    WRITE = "rw"


@dataclass(frozen=True, slots=True)
class Project:
    """A Keystone project."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Volume:
    """A Cinder volume, as of the moment it was asked for."""

    id: str
    name: str
    status: str
    size: int
    """In GiB."""
    description: str = ""
    project_id: str = ""
    volume_type: str | None = None
    availability_zone: str | None = None
    bootable: bool = False
    read_only: bool = False
    multiattach: bool = False
    encrypted: bool = False
    group_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The user's; Cinder's own admin keys ('readonly', 'attached_mode') are taken out."""
    image_metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Everything Cinder told, JSON values only: for `volume.json`, never for decisions."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """What a new volume shall be."""

    name: str
    size: int
    """In GiB."""
    description: str = ""
    volume_type: str | None = None
    availability_zone: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VolumeSettings:
    """What is put on a volume after it exists."""

    name: str
    description: str
    metadata: Mapping[str, str]
    """Replaces all the user's metadata."""
    image_metadata: Mapping[str, str]
    """Replaces all image metadata."""
    bootable: bool
    read_only: bool


@dataclass(frozen=True, slots=True)
class VolumeSnapshot:
    """A Cinder snapshot."""

    id: str
    name: str
    status: str
    volume_id: str
    size: int
    """In GiB."""
    project_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attachment:
    """Cinder's attachment record. `connection` is None until a connector was given."""

    id: str
    volume_id: str
    status: str
    connection: ConnectionInfo | None = None
    server_id: str | None = None
    """The server it is for, where a compute service made it; never one of ours."""


class Cloud(Protocol):
    """One project of one OpenStack cloud, seen with one user's rights."""

    def project(self) -> Project:
        """The project this user is logged in to."""

    def volumes(self) -> Sequence[Volume]:
        """All of the project."""

    def get_volume(self, volume_id: str) -> Volume:
        """ResourceMissingError when it does not exist or is not visible."""

    def find_volume(self, volume_id: str) -> Volume | None:
        """None when it does not exist or is not visible."""

    def create_volume(self, spec: VolumeSpec) -> Volume:
        """A new, empty volume, available. QuotaError, UnexpectedStateError."""

    def create_clone(self, snapshot: VolumeSnapshot, *, name: str, metadata: Mapping[str, str]) -> Volume:
        """A new volume with the snapshot's content, type and size, available."""

    def apply_settings(self, volume_id: str, settings: VolumeSettings) -> Volume:
        """Make the volume's own attributes those of `settings`; doing so again changes nothing.

        The tags of the run that makes a volume stay on it until `untag_volume`, whatever `settings` say.
        """

    def untag_volume(self, volume_id: str) -> None:
        """Take a run's tags off: the volume is finished and stays. No tags is no error."""

    def delete_volume(self, volume_id: str) -> None:
        """Gone on return. A request in flight (creating, detaching, ...) is waited out first.

        UnexpectedStateError when it stays: attached, has snapshots, error_deleting.
        """

    def snapshots(self) -> Sequence[VolumeSnapshot]:
        """All of the project."""

    def create_snapshot(self, volume_id: str, *, name: str, metadata: Mapping[str, str]) -> VolumeSnapshot:
        """Of an available or in-use volume (forced), available on return."""

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Gone on return; a request in flight is waited out first."""

    def attachments(self, volume_id: str) -> Sequence[Attachment]:
        """All of the volume, with their connections."""

    def create_attachment(self, volume_id: str, mode: Mode) -> Attachment:
        """Reserve the volume. First of three steps, so that the record's id is known before the back end acts."""

    def connect_attachment(self, attachment_id: str, connector: ConnectorProperties, mode: Mode) -> Attachment:
        """Tell Cinder which host connects; the result has its `connection`."""

    def complete_attachment(self, attachment_id: str) -> None:
        """Tell Cinder the device is there: the volume becomes in-use."""

    def delete_attachment(self, attachment_id: str) -> None:
        """Gone on return."""
