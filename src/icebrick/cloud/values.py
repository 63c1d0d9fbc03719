"""What a cloud tells and is told: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from icebrick.connection import ConnectionInfo
from icebrick.secret import Secret


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
    """The user's; Cinder's own admin keys ('readonly', 'attached_mode') and our notes are taken out."""
    image_metadata: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    """Metadata of ours (`icebrick.cloud.cold`), which is no part of what the volume is."""
    created_at: datetime | None = None
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Everything Cinder told but the notes, JSON values only: for `volume.json`, never for decisions."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """What a new volume shall be."""

    name: str
    size: int
    """In GiB."""
    description: str = ""
    volume_type: str | None = None
    availability_zone: str | None = None
    group_id: str | None = None
    """A group to be born into; it must allow `volume_type`, which then must be given."""
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
    group_snapshot_id: str | None = None
    """The group snapshot that it is part of and goes with; it cannot be deleted singly."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """Cinder's attachment record. `connection` is None until a connector was given."""

    id: str
    volume_id: str
    status: str
    connection: ConnectionInfo | None = None
    server_id: str | None = None
    """The server it is for, where a compute service made it; never one of ours."""


@dataclass(frozen=True, slots=True)
class Group:
    """A generic volume group. Types go by their names; one that is hidden from this user, by its id."""

    id: str
    name: str
    status: str
    description: str = ""
    project_id: str = ""
    group_type: str = ""
    volume_types: tuple[str, ...] = ()
    volume_ids: tuple[str, ...] = ()
    """Its members', sorted."""
    consistent: bool | None = None
    """Whether its group snapshots are of one instant. None: only an administrator is told."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """What a new group shall be. Types by name or id."""

    name: str
    group_type: str
    volume_types: tuple[str, ...]
    """Of its members to be; at least one."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """One snapshot of all members of a group. It, not the group, tells whose project pays for it."""

    id: str
    name: str
    status: str
    group_id: str
    project_id: str = ""
    description: str = ""
    snapshots: tuple[VolumeSnapshot, ...] = ()
    """One of each member, sorted by volume id."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """An offer of a volume to whoever has the key."""

    id: str
    name: str
    volume_id: str
    key: Secret | None = field(default=None, repr=False)
    """Told once, when it is created."""
