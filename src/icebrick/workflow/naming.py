"""How snapshots are named, so that stock restic's filters (--host, --path, --tag) find them too."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from icebrick.errors import UsageError
from icebrick.repository.snapshot import Snapshot

VOLUME_HOST = "cinder"
"""Not the agent's name: which host ran the backup of a volume says nothing about the volume."""

VOLUME = "volume:"
NAME = "name:"
PROJECT = "project:"
MODE = "mode:"
RUN = "run:"
GROUP = "group:"
GROUP_SNAPSHOT = "group-snapshot:"
MEMBERS = "members:"
_OURS = (VOLUME, NAME, PROJECT, MODE, RUN, GROUP, GROUP_SNAPSHOT, MEMBERS)

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]*")
_VOLUME_DIRECTORY = "/cinder/"
_IMAGE_DIRECTORY = "/image/"


class BackupMode(Enum):
    """How a volume is read, and kept in a snapshot."""

    FILES = "files"
    """Every file of its file system."""
    BLOCKS = "blocks"
    """All of it as an image."""
    AUTO = "auto"
    """Files where that is possible; a snapshot is one of the others."""


@dataclass(frozen=True, slots=True)
class SnapshotNaming:
    """The parts of a snapshot by which it is found."""

    hostname: str
    path: str
    tags: tuple[str, ...]

    def of_mode(self, mode: BackupMode) -> SnapshotNaming:
        """The same with the mode's tag."""
        return replace(self, tags=(*self.tags, f"{MODE}{mode.value}"))


def volume_path(volume_id: str) -> str:
    return _VOLUME_DIRECTORY + volume_id


def image_path(name: str) -> str:
    """UsageError for a name that would not be one step of a path."""
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        raise UsageError(f"image name {name!r} must be one printable word without '/'")
    return _IMAGE_DIRECTORY + name


def volume_of_path(path: str) -> str | None:
    """The volume's id; None when the path is not a volume's.

    Anybody who writes to the repository names paths, and ids go into requests: one that is no id is none.
    """
    volume_id = path.removeprefix(_VOLUME_DIRECTORY)
    return volume_id if path.startswith(_VOLUME_DIRECTORY) and is_id(volume_id) else None


def is_id(text: str) -> bool:
    """Whether it can be the id of a resource of Cinder: one step of a request's path."""
    return _ID.fullmatch(text) is not None


def image_of_path(path: str) -> str | None:
    """The image's name; None when the path is not an image's."""
    return path.removeprefix(_IMAGE_DIRECTORY) if path.startswith(_IMAGE_DIRECTORY) else None


def name_volume(
    volume_id: str,
    project_id: str,
    *,
    run_id: str,
    name: str = "",
    group: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> SnapshotNaming:
    """The naming of a volume's backup: `name` is the volume's, `group` of `group_tags`, `tags` are the user's own."""
    ours = ("icebrick", f"{VOLUME}{volume_id}", f"{PROJECT}{project_id}", f"{RUN}{run_id}")
    all_tags = (*ours, *_name_tag(name), *group, *map(checked_tag, tags))
    return SnapshotNaming(VOLUME_HOST, volume_path(volume_id), all_tags)


def name_image(name: str, host: str, *, run_id: str, tags: tuple[str, ...] = ()) -> SnapshotNaming:
    """The naming of an image's backup on `host`."""
    ours = ("icebrick", f"{RUN}{run_id}")
    return SnapshotNaming(host, image_path(name), ours + tuple(map(checked_tag, tags)))


def group_tags(group_id: str, group_snapshot_id: str, members: int) -> tuple[str, ...]:
    """What marks the backups of one group snapshot, of that many volumes, as one restore point."""
    return (f"{GROUP}{group_id}", f"{GROUP_SNAPSHOT}{group_snapshot_id}", f"{MEMBERS}{members}")


def tagged(tags: Iterable[str], prefix: str) -> str | None:
    """What stands behind one of our prefixes; None when there is no such tag."""
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), None)


def mode_of(snapshot: Snapshot) -> BackupMode:
    """In which mode it was made."""
    return BackupMode.FILES if f"{MODE}{BackupMode.FILES.value}" in snapshot.tags else BackupMode.BLOCKS


def _name_tag(name: str) -> tuple[str, ...]:
    """The volume's name as restic can show it and be asked for it; none for none. volume.json has it as it is."""
    word = "".join(char if char.isprintable() and char != "," else "_" for char in name)
    return (f"{NAME}{word}",) if word else ()


def checked_tag(tag: str) -> str:
    """A tag of the user's own; UsageError when restic could not find it, or it would pass for one of ours."""
    # restic splits tags at commas when it is asked for them
    if not tag or "," in tag or not tag.isprintable():
        raise UsageError(f"tag {tag!r} must be a printable word without ','")
    if tag.startswith(_OURS):
        raise UsageError(f"tag {tag!r} begins like one of icebrick's own")
    return tag
