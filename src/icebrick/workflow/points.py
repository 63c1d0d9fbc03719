"""Which snapshots a restore of a scope takes: one of each volume, and all or none of a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icebrick.errors import IcebrickError, SnapshotMissingError, UsageError
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow import naming
from icebrick.workflow.naming import tagged, volume_of_path
from icebrick.workflow.report import Failure, Skipped
from icebrick.workflow.scope import Scope, ScopeKind, unknown_exclusions
from icebrick.workflow.select import Selection, choose_volume

if TYPE_CHECKING:
    from icebrick.cloud.base import Volume

_LONGEST_NUMBER = 10
"""Digits; in a repository that others write to, there may be any."""

VolumeOf = Callable[[Snapshot], "Volume"]
"""What the record in a snapshot says of its volume."""


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """The snapshots of a group's members as of one moment."""

    group_id: str
    group_snapshot_id: str
    members: tuple[Snapshot, ...]
    size: int | None
    """How many members there were; None when the snapshots contradict each other."""

    @property
    def is_complete(self) -> bool:
        """If not, it is not restored: a group comes back whole or not at all."""
        return len(self.members) == self.size


@dataclass(frozen=True, slots=True)
class FoundSnapshots:
    """One of each volume. The members of `groups` are in `snapshots` too."""

    snapshots: tuple[Snapshot, ...] = ()
    groups: tuple[RestorePoint, ...] = ()
    failures: tuple[Failure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()


def find_restorable(
    snapshots: Sequence[Snapshot],
    scope: Scope,
    selection: Selection,
    *,
    project_id: str | None,
    volume_of: VolumeOf,
) -> FoundSnapshots:
    """The snapshots that the scope and the selection mean; `project_id` is whose volumes the project's are.

    What is named and has none is a failure; in the wide scopes, a volume that has none early enough is skipped.
    """
    match scope.kind:
        case ScopeKind.VOLUMES:
            return _find_named(snapshots, scope.ids, selection)
        case ScopeKind.GROUPS:
            return _find_groups(snapshots, scope.ids, selection)
        case ScopeKind.ALL_PROJECTS:
            return _find_all(snapshots, scope, selection, volume_of)
        case ScopeKind.PROJECT:
            if project_id is None:
                raise UsageError("whose volumes: no project is known", hint="Name it with --project-id.")
            own = [snapshot for snapshot in snapshots if tagged(snapshot.tags, naming.PROJECT) == project_id]
            return _find_all(own, scope, selection, volume_of)


def volume_id_of(snapshot: Snapshot) -> str | None:
    """None when it is not of a volume, or of several as only others make them."""
    return volume_of_path(snapshot.paths[0]) if len(snapshot.paths) == 1 else None


def _find_named(snapshots: Sequence[Snapshot], volume_ids: Iterable[str], selection: Selection) -> FoundSnapshots:
    chosen: list[Snapshot] = []
    failures: list[Failure] = []
    for volume_id in dict.fromkeys(volume_ids):
        try:
            chosen.append(choose_volume(snapshots, volume_id, selection))
        except SnapshotMissingError as error:
            failures.append(Failure(volume_id, str(error), error.hint))
    return FoundSnapshots(tuple(chosen), failures=tuple(failures))


def _find_all(snapshots: Sequence[Snapshot], scope: Scope, selection: Selection, volume_of: VolumeOf) -> FoundSnapshots:
    volume_ids = {volume_id: None for snapshot in snapshots if (volume_id := volume_id_of(snapshot)) is not None}
    chosen: list[Snapshot] = []
    failures: list[Failure] = []
    skipped: list[Skipped] = []
    for volume_id in volume_ids:
        if volume_id in scope.excluded:
            continue
        try:
            snapshot = choose_volume(snapshots, volume_id, selection)
            if not scope.filters or scope.takes(volume_of(snapshot)):
                chosen.append(snapshot)
        except SnapshotMissingError as error:
            skipped.append(Skipped(volume_id, f"has no snapshot that is meant: {error}"))
        except IcebrickError as error:  # its record is damaged, so nobody knows whether it is meant
            failures.append(Failure(volume_id, str(error), error.hint))
    return FoundSnapshots(
        tuple(chosen),
        failures=tuple(failures),
        skipped=tuple(skipped),
        warnings=unknown_exclusions(scope, volume_ids),
    )


def _find_groups(snapshots: Sequence[Snapshot], group_ids: Iterable[str], selection: Selection) -> FoundSnapshots:
    points: list[RestorePoint] = []
    failures: list[Failure] = []
    for group_id in dict.fromkeys(group_ids):
        early = [point for point in restore_points(snapshots, group_id) if _is_early(point, selection)]
        if early:
            points.append(early[-1])
        else:
            failures.append(_without_point(group_id, group_points(snapshots), selection))
    members = tuple(snapshot for point in points for snapshot in point.members)
    return FoundSnapshots(members, tuple(points), tuple(failures))


def _without_point(group_id: str, points: Iterable[RestorePoint], selection: Selection) -> Failure:
    parts = [point for point in points if point.group_id == group_id and not point.is_complete]
    early = f" from {selection.not_after.isoformat()} or before" if selection.not_after else ""
    problem, hint = f"no complete restore point of group {group_id}{early}", SnapshotMissingError.hint
    if parts:
        problem += f", of {len(parts)} some members were not backed up or are forgotten"
        hint = "What there is of them can be restored volume by volume, with --single-volume-id."
    return Failure(None, problem, hint, group_id)


def restore_points(snapshots: Iterable[Snapshot], group_id: str) -> list[RestorePoint]:
    """The complete ones of a group, oldest first."""
    return [point for point in group_points(snapshots) if point.group_id == group_id and point.is_complete]


def group_points(snapshots: Iterable[Snapshot]) -> list[RestorePoint]:
    """Of all groups, complete or not, oldest first."""
    found: dict[tuple[str, str], dict[str, Snapshot]] = {}
    for snapshot in sorted(snapshots, key=lambda snapshot: snapshot.time):
        group_id, group_snapshot_id = tagged(snapshot.tags, naming.GROUP), tagged(snapshot.tags, naming.GROUP_SNAPSHOT)
        volume_id = volume_id_of(snapshot)
        if group_id and group_snapshot_id and volume_id:
            found.setdefault((group_id, group_snapshot_id), {})[volume_id] = snapshot
    return [RestorePoint(*ids, tuple(members.values()), _size(members.values())) for ids, members in found.items()]


def _size(members: Iterable[Snapshot]) -> int | None:
    said = {tagged(snapshot.tags, naming.MEMBERS) or "" for snapshot in members}
    text = said.pop()
    return int(text) if not said and text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER else None


def _is_early(point: RestorePoint, selection: Selection) -> bool:
    moments: Iterator[bool] = (
        selection.not_after is None or snapshot.time.to_datetime() <= selection.not_after for snapshot in point.members
    )
    return all(moments)
