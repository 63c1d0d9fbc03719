"""What became of restored volumes, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from icebrick.engine.file.base import Problem
from icebrick.secret import Secret
from icebrick.workflow.report import Receipt, Skipped
from icebrick.workflow.restore_files import FilesReceipt


@dataclass(frozen=True, slots=True)
class Filled:
    """What it took to make a device hold `size` bytes of a snapshot.

    Of these, `bytes_written` had to be written, `bytes_discarded` had to become zeros, and `bytes_matching` of data
    were right before. The rest are zeros, and were.
    """

    size: int
    bytes_written: int
    bytes_discarded: int
    bytes_matching: int


@dataclass(frozen=True, slots=True)
class FilledFiles:
    """What it took to make a file system hold the files of a snapshot, counted in entries of directories."""

    restored: int
    """Made or changed."""
    unchanged: int
    kept: int
    """Left as they were, by the rule for overwriting."""
    removed: int
    """Not counting what was in directories that were removed."""
    bytes_written: int
    problems: int
    """Entries that are not as in the backup."""
    first_problems: tuple[Problem, ...]
    """At most 10,000 of them."""


class Way(Enum):
    """How a volume is restored: onto a copy of it, onto itself, onto a new one."""

    COPY = "copy"
    IN_PLACE = "in-place"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class NotRestored:
    """An attribute of the backed-up volume that the restored one has not, and why."""

    attribute: str
    was: Any
    """A JSON value."""
    reason: str


@dataclass(frozen=True, slots=True)
class RestoredEncryption:
    """How a restored volume is encrypted, whose backup was or is of encrypted data."""

    how: str
    """A sentence's end, for people."""
    needed_key_id: str | None = None
    """Of a key that is not the volume's own, without which nobody can use it until the keys are changed."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A volume transfer that somebody in the project has to accept, who needs both of these."""

    transfer_id: str
    key: Secret
    reason: str


@dataclass(frozen=True, slots=True)
class VolumeRestore:
    """One volume restored. `source_id` was backed up, `volume_id` now has the data."""

    source_id: str
    snapshot_id: str
    volume_id: str
    project_id: str
    """Whose it is; with an `offer`, whose it becomes."""
    way: Way
    reason: str
    """Why that way, behind "because"."""
    filled: Filled | FilledFiles
    started: datetime
    ended: datetime
    receipt: Receipt | FilesReceipt | None = None
    not_restored: tuple[NotRestored, ...] = ()
    safety_snapshot_ids: tuple[str, ...] = ()
    """Volume snapshots of what was in the volume itself before it was written."""
    offer: Offer | None = None
    removed_volume_id: str | None = None
    """The volume that was replaced."""
    not_removed: str | None = None
    """Why that is still there although it was to be removed."""
    encryption: RestoredEncryption | None = None


@dataclass(frozen=True, slots=True)
class RestoreFailure:
    """A volume that was not restored, or a whole group or project when there is no `volume_id`; and why."""

    volume_id: str | None
    group_id: str | None
    message: str
    hint: str | None
    exit_code: int = 1
    receipt: Receipt | FilesReceipt | None = None
    """Of a volume that did not hold what it should."""
    safety_snapshot_ids: tuple[str, ...] = ()
    """As in `VolumeRestore`: the volume may have been written in part."""
    project_id: str | None = None
    """Only of a whole one, whose repository cannot be read."""

    @property
    def subject(self) -> str:
        """As `volume 1f2e...`."""
        if self.project_id is not None:
            return f"project {self.project_id}"
        return f"group {self.group_id}" if self.volume_id is None else f"volume {self.volume_id}"


@dataclass(frozen=True, slots=True)
class GroupRestore:
    """A group's restore point: all its volumes are restored, or nothing of it stays."""

    source_id: str
    """The group that was backed up."""
    group_snapshot_id: str
    members: int
    restored: bool
    new_group_id: str | None
    """That all of them are in; None when the old one is still there, or the volumes are handed over one by one."""


@dataclass(frozen=True, slots=True)
class VolumesReport:
    """One run that restored volumes. `leftovers` names what it made in the cloud and could not remove again."""

    run_id: str
    restores: tuple[VolumeRestore, ...]
    failures: tuple[RestoreFailure, ...] = ()
    leftovers: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    interrupted: bool = False
    """It was asked to end before it had done all."""
    not_begun: tuple[str, ...] = ()
    """Ids of the volumes that were not reached then."""
    groups: tuple[GroupRestore, ...] = ()
