"""What workflows may ask of a cloud, and the values they get back.

Methods return when the resource is ready, or raise; callers never poll. A failed create deletes what it made.
Deleting what is gone is no error. All raise CloudUnavailableError when OpenStack does not answer,
AccessForbiddenError when this user may not, ResourceMissingError when what they name is not there.

An administrator sees and may change every project's resources by id; what it makes of them is its own project's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from icebrick.cloud.servers import Servers
from icebrick.cloud.values import (
    Attachment,
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
from icebrick.connection import ConnectorProperties
from icebrick.encryption import Encryption, VolumeKey

__all__ = [
    "Attachment",
    "Cloud",
    "Group",
    "GroupSnapshot",
    "GroupSpec",
    "Mode",
    "Project",
    "Transfer",
    "Volume",
    "VolumeSettings",
    "VolumeSnapshot",
    "VolumeSpec",
]


class Cloud(Protocol):
    """One project of one OpenStack cloud, seen with one user's rights."""

    # Whose

    def project(self) -> Project:
        """The project this user is logged in to."""

    def is_admin(self) -> bool:
        """Whether this login is an administrator's: of all projects, as Cinder sees it."""

    def all_projects(self) -> Sequence[Project]:
        """Of the whole cloud, those without volumes too. AccessForbiddenError for all but administrators."""

    def in_project(self, project_id: str) -> AbstractContextManager[Cloud]:
        """The same user in another project, until the block ends; with the rights of the user's role there.

        AccessForbiddenError without a role there, or when the login is an application credential: that is bound
        to its project.
        """

    def servers(self) -> Servers:
        """The compute service, with the same rights. UsageError where there is none."""

    # Encryption

    def find_encryption(self, volume_id: str) -> Encryption | None:
        """How the volume is encrypted; None when it is not. ResourceMissingError when there is no such volume."""

    def get_key(self, encryption: Encryption) -> VolumeKey:
        """AccessForbiddenError when this user may not have it.

        ResourceMissingError when there is none with that id, as after its volume was deleted, or no key manager.
        """

    # What there is to choose from

    def volume_types(self) -> Sequence[str]:
        """Names of those that this user may give to a new volume."""

    def availability_zones(self) -> Sequence[str]:
        """Those in which volumes can be made now."""

    # Volumes

    def volumes(self) -> Sequence[Volume]:
        """All of the project."""

    def all_volumes(self) -> Sequence[Volume]:
        """All of all projects. AccessForbiddenError for all but administrators."""

    def get_volume(self, volume_id: str) -> Volume:
        """ResourceMissingError when it does not exist or is not visible."""

    def find_volume(self, volume_id: str) -> Volume | None:
        """None when it does not exist or is not visible."""

    def create_volume(self, spec: VolumeSpec) -> Volume:
        """A new, empty volume, available. QuotaError, UnexpectedStateError."""

    def create_clone(self, snapshot: VolumeSnapshot, *, name: str, metadata: Mapping[str, str]) -> Volume:
        """A new volume with the snapshot's content, type and size, available, in no group."""

    def apply_settings(self, volume_id: str, settings: VolumeSettings) -> Volume:
        """Make the volume's own attributes those of `settings`; doing so again changes nothing.

        The tags of the run that makes a volume stay on it until `untag_volume`, whatever `settings` say.
        """

    def untag_volume(self, volume_id: str) -> None:
        """Take a run's tags off: the volume is finished and stays. No tags is no error."""

    def add_notes(self, volume_id: str, notes: Mapping[str, str]) -> None:
        """Seen by everybody as the volume's `notes` on return, besides those it has."""

    def remove_notes(self, volume_id: str, keys: Iterable[str]) -> None:
        """Not there is no error."""

    def delete_volume(self, volume_id: str) -> None:
        """Gone on return. A request in flight (creating, detaching, ...) is waited out first.

        UnexpectedStateError when it stays: attached, has snapshots, in a group, awaiting a transfer, error_deleting.
        """

    def force_delete_volume(self, volume_id: str) -> None:
        """As `delete_volume`, at once and from whatever state it is stuck in. AccessForbiddenError for members.

        Attachments, snapshots and a group hinder it all the same.
        """

    # Volume snapshots

    def snapshots(self) -> Sequence[VolumeSnapshot]:
        """All of the project, those of group snapshots too."""

    def all_snapshots(self) -> Sequence[VolumeSnapshot]:
        """All of all projects. AccessForbiddenError for all but administrators."""

    def create_snapshot(self, volume_id: str, *, name: str, metadata: Mapping[str, str]) -> VolumeSnapshot:
        """Of an available or in-use volume (forced), available on return."""

    def replace_snapshot_metadata(self, snapshot_id: str, metadata: Mapping[str, str]) -> None:
        """All of it; doing so again changes nothing."""

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Gone on return; a request in flight is waited out first. UnexpectedStateError for one of a group snapshot."""

    def force_delete_snapshot(self, snapshot_id: str) -> None:
        """As `delete_snapshot`, at once and from whatever state it is stuck in. AccessForbiddenError for members."""

    # Attachments

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

    # Groups

    def groups(self) -> Sequence[Group]:
        """All of the project."""

    def all_groups(self) -> Sequence[Group]:
        """All of all projects. AccessForbiddenError for all but administrators."""

    def get_group(self, group_id: str) -> Group:
        """ResourceMissingError when it does not exist or is not visible."""

    def find_group(self, group_id: str) -> Group | None:
        """None when it does not exist or is not visible."""

    def create_group(self, spec: GroupSpec) -> Group:
        """A new, empty group, available. ResourceMissingError when a type does not exist, QuotaError."""

    def update_group(self, group_id: str, *, name: str, description: str) -> Group:
        """Make name and description these; doing so again changes nothing."""

    def add_to_group(self, group_id: str, volume_id: str) -> None:
        """A member on return; of the group already is no error.

        UnexpectedStateError when it is in another one, of another project, of a type the group has not, or not
        where the group is. `volume_id` missing is one too.
        """

    def remove_from_group(self, volume_id: str) -> None:
        """In no group on return, which is no error before either."""

    def delete_group(self, group_id: str) -> None:
        """Gone on return. UnexpectedStateError when it has volumes or group snapshots: those stay."""

    def force_delete_group(self, group_id: str) -> None:
        """As `delete_group`, at once and from whatever state it is stuck in. AccessForbiddenError for members."""

    # Group snapshots

    def group_snapshots(self) -> Sequence[GroupSnapshot]:
        """All of the project, with their snapshots."""

    def all_group_snapshots(self) -> Sequence[GroupSnapshot]:
        """All of all projects. AccessForbiddenError for all but administrators."""

    def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> GroupSnapshot:
        """All members, attached or not, as of now; available on return. UnexpectedStateError for an empty group."""

    def delete_group_snapshot(self, group_snapshot_id: str) -> None:
        """It and its snapshots are gone on return; a request in flight is waited out first."""

    def force_delete_group_snapshot(self, group_snapshot_id: str) -> None:
        """As `delete_group_snapshot`, at once and from whatever state. AccessForbiddenError for members."""

    # Transfers

    def transfers(self) -> Sequence[Transfer]:
        """All offers of the project's volumes, without their keys."""

    def all_transfers(self) -> Sequence[Transfer]:
        """All of all projects. AccessForbiddenError for all but administrators."""

    def create_transfer(self, volume_id: str, *, name: str) -> Transfer:
        """Offer an available volume; it awaits the transfer then and can be used for nothing else."""

    def accept_transfer(self, transfer: Transfer) -> Volume:
        """Take the volume into this project, snapshots and all; available on return.

        QuotaError of this project; CloudError when the key is wrong.
        """

    def delete_transfer(self, transfer_id: str) -> None:
        """Take an offer back: the volume is available again."""
