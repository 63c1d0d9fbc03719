"""What was done, as values, and as the JSON of them that commands print and others may keep."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icebrick.blockdev import Extent
from icebrick.secret import Secret
from icebrick.workflow.naming import BackupMode

if TYPE_CHECKING:
    from icebrick.engine.file.base import Problem
    from icebrick.workflow.encryption import StoredEncryption


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """One snapshot made. Sizes in bytes; `path` is the snapshot's, which names the volume or image."""

    path: str
    snapshot_id: str
    parent_id: str | None
    mode: BackupMode
    size: int
    """Of the image, or of all regular files."""
    bytes_read: int
    bytes_new: int
    """What the repository had not yet, before compression."""
    bytes_packed: int
    """The same as stored."""
    digest: str
    started: datetime
    ended: datetime
    mode_reason: str | None = None
    """Why these are blocks, where files would have been preferred."""
    problems: tuple[Problem, ...] = ()
    """Files that are not in the snapshot, or not in full; the first 10,000 of them."""
    problem_count: int = 0
    encryption: StoredEncryption | None = None
    """None of a volume that was not encrypted, and of an image."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A volume of which nothing was stored, and why; or a whole group, when there is no `volume_id`.

    With both ids, it was to be backed up as a member of the group.
    """

    volume_id: str | None
    message: str
    hint: str | None
    group_id: str | None = None

    @property
    def subject(self) -> str:
        """As `volume 1f2e...`."""
        return f"group {self.group_id}" if self.volume_id is None else f"volume {self.volume_id}"


@dataclass(frozen=True, slots=True)
class GroupBackup:
    """What became of a group whose members were to be backed up as of one moment. Counts of volumes."""

    group_id: str
    name: str
    group_snapshot_id: str | None
    """Of Cinder's group snapshot; it names the restore point. None when there could be none."""
    members: int
    backed_up: int
    complete: bool
    """All of them: only then the group can be restored as a whole."""
    consistent: bool | None
    """Whether its type promises that a group snapshot is of one instant. None: only an administrator is told."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A volume that was not asked for by name, and why nothing is stored of it: the end of a sentence."""

    volume_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BackupReport:
    """One run. `leftovers` names what it made in the cloud and could not remove again.

    `away` tells of volumes that it could not give back to their servers, and how a person does it.
    """

    run_id: str
    backups: tuple[SavedSnapshot, ...]
    failures: tuple[Failure, ...] = ()
    leftovers: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    interrupted: bool = False
    """It was asked to end before it had done all."""
    not_begun: tuple[str, ...] = ()
    """Ids of the volumes that were not reached then."""
    groups: tuple[GroupBackup, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof of a restore: everything was read back and compared with the backup. Sizes and offsets in bytes."""

    snapshot_id: str
    snapshot_time: datetime
    target: str
    """The volume's id, or the path."""
    size: int
    blocks: int
    zero_blocks: int
    mismatches: int
    """Blocks that differ."""
    first_mismatches: tuple[Extent, ...]
    """Where, of at most the first 100."""
    digest: str
    """The image's as it is in the repository; without mismatches also what the target holds."""
    started: datetime
    ended: datetime

    @property
    def compared(self) -> str:
        """As `3 blocks`."""
        return f"{self.blocks} blocks"


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """An image restored to a file or device.

    Of the image's bytes, `bytes_written` had to be written, `bytes_discarded` had to become zeros, and
    `bytes_matching` of data were right before. The rest are zeros, and were.
    """

    run_id: str
    snapshot_id: str
    target: str
    size: int
    bytes_written: int
    bytes_discarded: int
    bytes_matching: int
    receipt: Receipt | None = None


def to_json(value: object) -> Any:
    """The JSON value of a report or a part of one: field names as they are, times in ISO 8601.

    Secrets are in it: whoever has the report shall have them, and nobody else.
    """
    if isinstance(value, Secret):
        return value.reveal()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value.value if isinstance(value, Enum) else value
