"""What is asked of a backup or a restore, free of contradictions: the same for a command line, a job or anyone else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from icebrick.engine.file.options import FileRestoreOptions, Overwrite
from icebrick.errors import UsageError
from icebrick.workflow.encryption import EncryptedVolumes
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.scope import Scope, ScopeKind
from icebrick.workflow.select import LATEST, Selection

_KEEPING = (Overwrite.IF_NEWER, Overwrite.NEVER)


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """Back volumes up; `cold` detaches them from their servers meanwhile."""

    scope: Scope
    mode: BackupMode = BackupMode.AUTO
    isolated: bool = True
    """Read file systems in a virtual machine, not by this host's kernel."""
    tags: tuple[str, ...] = ()
    cold: bool = False
    recreate_on_error: bool = False
    """Make temporary volumes that fail again."""
    encrypted: EncryptedVolumes = EncryptedVolumes.AUTO


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """Restore volumes. Without a `scope`, that whose snapshot is selected by its id. UsageError for contradictions."""

    scope: Scope | None
    selection: Selection = field(default_factory=Selection)
    in_place: bool = False
    """Write to the volumes themselves, not to copies."""
    recreate_on_error: bool = False
    """Where that fails, restore onto a new volume."""
    meta_override: bool = False
    """Volumes that exist get the backup's name, metadata etc. too."""
    remove_old: bool = False
    """Delete what is replaced, when the replacement is verified. Whoever asks for this has been asked back."""
    verify: bool = False
    overwrite: Overwrite = Overwrite.ALWAYS
    """Which files that are there already."""
    delete_extra: bool = False
    """Remove files that the backup has not."""
    to_cloud: str | None = None
    to_project: str | None = None
    map_type: Mapping[str, str] = field(default_factory=dict)
    """Volume types of the backup, and what new volumes have instead."""
    map_az: Mapping[str, str] = field(default_factory=dict)
    """The same of availability zones."""
    drop_encryption: bool = False
    """What was encrypted may be stored in volumes that are not."""

    def __post_init__(self) -> None:
        elsewhere = self.to_cloud is not None or self.to_project is not None
        by_id = self.selection.wanted != LATEST
        problems = {
            "snapshot and restore-from-date exclude each other": by_id and self.selection.not_after,
            "which volumes: neither a scope nor a snapshot's id": self.scope is None and not by_id,
            "a snapshot's id is of one volume, and the scope may have more": by_id and not _may_be_one(self.scope),
            "a group is restored whole: filter and exclude are not for consistency-groups": (
                self.scope is not None
                and self.scope.kind is ScopeKind.GROUPS
                and (self.scope.filters or self.scope.excluded)
            ),
            "a group is restored whole or not at all, and in-place cannot be undone": (
                self.in_place and self.scope is not None and self.scope.kind is ScopeKind.GROUPS
            ),
            "in-place and remove-old-vol exclude each other: nothing is replaced": self.in_place and self.remove_old,
            "in-place is where the volume is, not in another cloud or project": self.in_place and elsewhere,
            "remove-old-vol is not for a restore to another cloud or project": self.remove_old and elsewhere,
            "remove-old-vol needs verify": self.remove_old and not self.verify,
            "verify finds what overwrite has kept to differ": self.verify and self.overwrite in _KEEPING,
        }
        for message, applies in problems.items():
            if applies:
                raise UsageError(message)


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """Restore one image to `target`, a file or device, or files to a directory; without a cloud.

    It is that of a volume or of an image called so, or without either the one selected. UsageError for contradictions.
    """

    target: str
    volume_id: str | None
    image_name: str | None
    host: str | None
    """The image's, where several hosts have one of that name."""
    selection: Selection
    replace: bool = False
    verify: bool = False
    files: FileRestoreOptions = field(default_factory=FileRestoreOptions)

    def __post_init__(self) -> None:
        named = self.volume_id is not None or self.image_name is not None
        problems = {
            "single-volume-id and image-name exclude each other": self.volume_id and self.image_name,
            "host is for images": self.host and not self.image_name,
            "which one: name a volume with single-volume-id, an image with image-name, or a snapshot": (
                not named and self.selection == Selection()
            ),
            "what went to standard output cannot be verified": self.verify and self.to_stdout,
            "verify finds what overwrite has kept to differ": self.verify and self.files.overwrite in _KEEPING,
            "delete-extra at / would delete this host's own files": self.files.delete_extra and self._is_this_host,
        }
        for message, applies in problems.items():
            if applies:
                raise UsageError(message)

    @property
    def to_stdout(self) -> bool:
        return self.target == "-"

    @property
    def _is_this_host(self) -> bool:
        return os.path.realpath(self.target) == "/"


def _may_be_one(scope: Scope | None) -> bool:
    return scope is None or (scope.kind is ScopeKind.VOLUMES and len(scope.ids) == 1)
