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

VolumeOf = Callable[[Snapshot], "Volume"]
"""What the record in a snapshot says of its volume."""


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """The snapshots of all members of a group as of one moment."""

    group_id: str
    group_snapshot_id: str
    members: tuple[Snapshot, ...]


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
            problem = f"no complete restore point of group {group_id}"
            failures.append(Failure(None, problem, SnapshotMissingError.hint, group_id))
    members = tuple(snapshot for point in points for snapshot in point.members)
    return FoundSnapshots(members, tuple(points), tuple(failures))


def restore_points(snapshots: Iterable[Snapshot], group_id: str) -> list[RestorePoint]:
    """The complete ones of a group, oldest first. One that lacks a member is none."""
    candidates: dict[str, dict[str, Snapshot]] = {}
    for snapshot in sorted(snapshots, key=lambda snapshot: snapshot.time):
        group_snapshot_id = tagged(snapshot.tags, naming.GROUP_SNAPSHOT)
        volume_id = volume_id_of(snapshot)
        if tagged(snapshot.tags, naming.GROUP) == group_id and group_snapshot_id and volume_id:
            candidates.setdefault(group_snapshot_id, {})[volume_id] = snapshot
    return [
        RestorePoint(group_id, group_snapshot_id, tuple(members.values()))
        for group_snapshot_id, members in candidates.items()
        if all(tagged(snapshot.tags, naming.MEMBERS) == str(len(members)) for snapshot in members.values())
    ]


def _is_early(point: RestorePoint, selection: Selection) -> bool:
    moments: Iterator[bool] = (
        selection.not_after is None or snapshot.time.to_datetime() <= selection.not_after for snapshot in point.members
    )
    return all(moments)
