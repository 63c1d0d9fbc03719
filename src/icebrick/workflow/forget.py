"""Forgetting snapshots: which, why the others stay, and then removing them. Their data goes with the next prune."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from icebrick.errors import SnapshotMissingError, UsageError
from icebrick.parallel import Workers
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.repository import Repository
from icebrick.repository.retention import IN_THE_FUTURE, Policy, Verdict, apply_policy
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.workflow.points import RestorePoint, group_points

GROUPINGS = ("host", "paths", "tags")


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What the snapshots of a group have in common; None for what they are not grouped by."""

    host: str | None = None
    paths: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None

    def __str__(self) -> str:
        parts = [
            *([f"host {self.host}"] if self.host is not None else []),
            *([f"path {', '.join(self.paths)}"] if self.paths is not None else []),
            *([f"tags {', '.join(self.tags) or 'none'}"] if self.tags is not None else []),
        ]
        return ", ".join(parts) or "all snapshots"


@dataclass(frozen=True, slots=True)
class ForgetGroup:
    """A group of snapshots, newest first, with the verdict on each."""

    key: GroupKey
    verdicts: tuple[Verdict, ...]

    @property
    def kept(self) -> list[Snapshot]:
        return [verdict.snapshot for verdict in self.verdicts if verdict.is_kept]

    @property
    def removed(self) -> list[Snapshot]:
        return [verdict.snapshot for verdict in self.verdicts if not verdict.is_kept]

    @property
    def loses_all(self) -> bool:
        """Whether nothing stays that is certainly a backup of the past."""
        return bool(self.removed) and all(
            verdict.reasons == (IN_THE_FUTURE,) for verdict in self.verdicts if verdict.is_kept
        )


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """What is to be removed, which may be nothing. `groups` are those that a policy was applied to."""

    removed: tuple[Snapshot, ...]
    groups: tuple[ForgetGroup, ...] = ()
    warnings: tuple[str, ...] = ()

    def refuse_removing_all(self) -> None:
        """UsageError when some group would lose all it has."""
        for group in self.groups:
            if group.loses_all:
                raise UsageError(
                    f"this would forget all {len(group.removed)} snapshots of {group.key}",
                    hint="Say --unsafe-allow-remove-all if that is meant, or name them by their ids.",
                )


def parse_grouping(text: str) -> frozenset[str]:
    """Of text such as host,paths; empty for one group of all. UsageError."""
    words = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(words - set(GROUPINGS))
    if unknown:
        raise UsageError(f"cannot group by {unknown[0]!r}, expected some of {', '.join(GROUPINGS)}")
    return words


def plan_forget(
    there: Sequence[Snapshot],
    takes: Callable[[Snapshot], bool],
    policy: Policy,
    *,
    grouping: frozenset[str],
    now: Timestamp,
) -> ForgetPlan:
    """By a policy; UsageError for an empty one. Of `there`, only those that `takes` says are judged.

    A complete restore point of a group of volumes, of which all members are judged, stays whole when any of them stays.
    """
    if policy.is_empty:
        raise UsageError(
            "no policy says what to keep, so nothing is forgotten",
            hint="Say at least one of the options --keep-..., or name snapshots by their ids.",
        )
    judged = list(filter(takes, there))
    groups = [
        ForgetGroup(key, tuple(apply_policy(members, policy, now))) for key, members in _grouped(judged, grouping)
    ]
    groups = _with_whole_points(groups)
    removed = tuple(snapshot for group in groups for snapshot in group.removed)
    return ForgetPlan(removed, tuple(groups), (*_future_warnings(groups), *_broken_points(there, removed)))


def plan_forget_named(there: Sequence[Snapshot], prefixes: Iterable[str]) -> ForgetPlan:
    """By ids, or the beginnings of ids; SnapshotMissingError, with nothing planned, when one names none or several."""
    removed = {snapshot.id: snapshot for snapshot in (_named(there, prefix) for prefix in prefixes)}
    return ForgetPlan(tuple(removed.values()), warnings=tuple(_broken_points(there, removed.values())))


def run_forget(repository: Repository, plan: ForgetPlan, progress: Progress = NO_PROGRESS) -> None:
    """Remove what the plan says. The caller holds the exclusive lock, under which the plan was made."""
    ids = [snapshot.id for snapshot in plan.removed if snapshot.id is not None]
    with progress.task("forget", total=len(ids), unit="snapshots") as task:

        def remove(snapshot_id: str) -> None:
            repository.remove_snapshot(snapshot_id)
            task.advance(1)

        with Workers(remove, threads=repository.backend.connections, name="forget") as workers:
            for snapshot_id in ids:
                workers.put(snapshot_id)


def _grouped(snapshots: Iterable[Snapshot], grouping: frozenset[str]) -> Iterator[tuple[GroupKey, list[Snapshot]]]:
    groups: dict[GroupKey, list[Snapshot]] = {}
    for snapshot in snapshots:
        key = GroupKey(
            snapshot.hostname if "host" in grouping else None,
            tuple(sorted(snapshot.paths)) if "paths" in grouping else None,
            tuple(sorted(snapshot.tags)) if "tags" in grouping else None,
        )
        groups.setdefault(key, []).append(snapshot)
    yield from groups.items()


def _with_whole_points(groups: list[ForgetGroup]) -> list[ForgetGroup]:
    """What would tear a restore point apart is kept."""
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    kept = {verdict.snapshot.id for verdict in verdicts if verdict.is_kept}
    whole: dict[str | None, RestorePoint] = {}
    for point in group_points(verdict.snapshot for verdict in verdicts):
        ids = {member.id for member in point.members}
        if point.is_complete and not ids.isdisjoint(kept):
            whole |= dict.fromkeys(ids - kept, point)

    def kept_whole(verdict: Verdict) -> Verdict:
        point = whole.get(verdict.snapshot.id)
        return verdict if point is None else replace(verdict, reasons=(f"other volumes of {_called(point)} stay",))

    return [replace(group, verdicts=tuple(map(kept_whole, group.verdicts))) for group in groups]


def _future_warnings(groups: Iterable[ForgetGroup]) -> Iterator[str]:
    for verdict in (verdict for group in groups for verdict in group.verdicts):
        if verdict.reasons == (IN_THE_FUTURE,):
            snapshot = verdict.snapshot
            yield (
                f"snapshot {snapshot.id} says it is of {snapshot.time}, which lies in the future; it is kept, and the "
                "rules do not count it"
            )


def _broken_points(there: Sequence[Snapshot], removed: Iterable[Snapshot]) -> Iterator[str]:
    gone = {snapshot.id for snapshot in removed}
    for point in group_points(there):
        lost = [member for member in point.members if member.id in gone]
        if point.is_complete and 0 < len(lost) < len(point.members):
            yield (
                f"{_called(point)} will lack {len(lost)} of {len(point.members)} volumes; the others can then be "
                "restored only volume by volume"
            )


def _called(point: RestorePoint) -> str:
    return f"restore point {point.group_snapshot_id} of group {point.group_id}"


def _named(there: Sequence[Snapshot], prefix: str) -> Snapshot:
    found = [snapshot for snapshot in there if prefix and (snapshot.id or "").startswith(prefix)]
    if len(found) != 1:
        raise SnapshotMissingError(f"{len(found) or 'no'} snapshots have an id that starts with {prefix!r}")
    return found[0]
