"""Which volumes are meant: exactly one of four scopes, narrowed by filters and exclusions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from icebrick.errors import IcebrickError, UsageError
from icebrick.run import RUN_KEY
from icebrick.workflow.report import Failure, Skipped

if TYPE_CHECKING:
    from icebrick.cloud.base import Cloud, Group, Volume

STATES_WITHOUT_CONTENT = frozenset({"creating", "managing", "error", "error_managing", "deleting", "error_deleting"})
"""Never was there anything in it, or somebody wants it gone. In any other state, Cinder is asked and may refuse."""

_METADATA = "metadata."
_KEYS = ("name", "type", "status")


class ScopeKind(Enum):
    """Called as the option that chooses it."""

    VOLUMES = "single-volume-id"
    PROJECT = "all-tenant-volumes"
    ALL_PROJECTS = "all-tenants"
    GROUPS = "consistency-groups"

    @property
    def is_wide(self) -> bool:
        """Nobody has named the volumes: one that has nothing to back up is no failure."""
        return self in (ScopeKind.PROJECT, ScopeKind.ALL_PROJECTS)


@dataclass(frozen=True, slots=True)
class Filter:
    """What an attribute must look like. `pattern` is a shell pattern."""

    key: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.key}={self.pattern}"

    def matches(self, volume: Volume) -> bool:
        """A metadata key that the volume has not got matches nothing."""
        value = self._value(volume)
        return value is not None and fnmatchcase(value, self.pattern)

    def _value(self, volume: Volume) -> str | None:
        if self.key.startswith(_METADATA):
            return volume.metadata.get(self.key.removeprefix(_METADATA))
        return {"name": volume.name, "type": volume.volume_type or "", "status": volume.status}[self.key]


def parse_filter(text: str) -> Filter:
    """UsageError for a key that there is not."""
    key, equals, pattern = text.partition("=")
    if not equals or not (key in _KEYS or key.removeprefix(_METADATA) not in ("", key)):
        raise UsageError(
            f"{text!r} is not a filter",
            hint="Write name=PATTERN, type=PATTERN, status=PATTERN or metadata.KEY=PATTERN.",
        )
    return Filter(key, pattern)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which volumes. `ids` are those of volumes or groups; the wide scopes have none.

    Of filters with the same key one must match, and so for every key.
    """

    kind: ScopeKind
    ids: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.ids) == self.kind.is_wide:
            raise UsageError(f"{self.kind.value} {'takes no ids' if self.ids else 'needs an id'}")
        if self.kind is ScopeKind.VOLUMES and (self.filters or self.excluded):
            raise UsageError("filter and exclude are for more volumes than those named by single-volume-id")

    def takes(self, volume: Volume) -> bool:
        """Whether the filters and exclusions let it through."""
        keys = {each.key for each in self.filters}
        return volume.id not in self.excluded and all(
            any(each.matches(volume) for each in self.filters if each.key == key) for key in keys
        )


@dataclass(frozen=True, slots=True)
class FoundGroup:
    """A group and those of its members that are meant. Not `whole` when some are not, or cannot be backed up."""

    group: Group
    members: tuple[Volume, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The volumes of a scope. Members of `groups` are in `volumes` too."""

    volumes: tuple[Volume, ...] = ()
    groups: tuple[FoundGroup, ...] = ()
    failures: tuple[Failure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()


def find_volumes(cloud: Cloud, scope: Scope) -> Found:
    """Those to back up. Makes nothing.

    What is named and missing, or has no content, is a failure. In the wide scopes, what has no content is skipped,
    as are the temporary volumes of runs; for reasons that are told.
    """
    match scope.kind:
        case ScopeKind.VOLUMES:
            return _find_named(cloud, scope.ids)
        case ScopeKind.GROUPS:
            return _find_members(cloud, scope)
        case ScopeKind.PROJECT:
            return _find_all(cloud.volumes(), scope)
        case ScopeKind.ALL_PROJECTS:
            return _find_all(cloud.all_volumes(), scope)


def _find_named(cloud: Cloud, volume_ids: Iterable[str]) -> Found:
    volumes: list[Volume] = []
    failures: list[Failure] = []
    for volume_id in dict.fromkeys(volume_ids):
        try:
            volume = cloud.get_volume(volume_id)
        except IcebrickError as error:
            failures.append(Failure(volume_id, str(error), error.hint))
            continue
        reason = _unfit(volume)
        if reason is None:
            volumes.append(volume)
        else:
            failures.append(Failure(volume_id, f"volume {volume_id} {reason}", None))
    return Found(tuple(volumes), failures=tuple(failures))


def _find_all(candidates: Sequence[Volume], scope: Scope) -> Found:
    wanted = [volume for volume in candidates if scope.takes(volume)]
    reasons = {volume.id: _unfit(volume) for volume in wanted}
    return Found(
        volumes=tuple(volume for volume in wanted if reasons[volume.id] is None),
        skipped=tuple(Skipped(volume_id, reason) for volume_id, reason in reasons.items() if reason is not None),
        warnings=(
            *unknown_exclusions(scope, [volume.id for volume in candidates]),
            *([] if wanted else [_none_of(scope, there=bool(candidates))]),
        ),
    )


def _none_of(scope: Scope, *, there: bool) -> str:
    """Whoever expects a backup of all must hear that it was one of nothing."""
    whose = "the project" if scope.kind is ScopeKind.PROJECT else "any project"
    return f"filter and exclude leave no volume in {whose}" if there else f"there is no volume in {whose}"


def _find_members(cloud: Cloud, scope: Scope) -> Found:
    groups: list[FoundGroup] = []
    failures: list[Failure] = []
    candidates: list[Volume] = []
    for group_id in dict.fromkeys(scope.ids):
        try:
            group = cloud.get_group(group_id)
        except IcebrickError as error:
            failures.append(Failure(None, str(error), error.hint, group_id))
            continue
        if not group.volume_ids:
            failures.append(Failure(None, f"group {group_id} has no volumes", None, group_id))
            continue
        members = _find_named(cloud, group.volume_ids)
        wanted = tuple(volume for volume in members.volumes if scope.takes(volume))
        candidates += members.volumes
        failures += (replace(failure, group_id=group_id) for failure in members.failures)
        groups.append(FoundGroup(group, wanted, whole=len(wanted) == len(group.volume_ids)))
    return Found(
        volumes=tuple(volume for found in groups for volume in found.members),
        groups=tuple(groups),
        failures=tuple(failures),
        warnings=(
            *unknown_exclusions(scope, [volume.id for volume in candidates]),
            *(warning for found in groups for warning in _weaknesses(found)),
        ),
    )


def _weaknesses(found: FoundGroup) -> Iterator[str]:
    """Of the restore point that is to be."""
    group = found.group
    if group.consistent is False:
        yield (
            f"group {group.id}: its type {group.group_type} does not promise that all volumes are frozen at one "
            "instant; what is backed up of one may be later than of another"
        )
    if not found.whole:
        meant, members = len(found.members), len(group.volume_ids)
        yield f"group {group.id}: {meant} of {members} volumes are backed up, and so no restore point of the group"


def _unfit(volume: Volume) -> str | None:
    """Why it is not to be backed up, as the end of a sentence."""
    if RUN_KEY in volume.metadata:
        return f"is a temporary one of run {volume.metadata[RUN_KEY]}"
    return f"has no content: its status is {volume.status}" if volume.status in STATES_WITHOUT_CONTENT else None


def unknown_exclusions(scope: Scope, volume_ids: Iterable[str]) -> tuple[str, ...]:
    """What to warn of: whoever excludes a volume that is not there may have meant one that is."""
    unknown = set(scope.excluded) - set(volume_ids)
    return tuple(f"volume {volume_id} is to be excluded, and is not there" for volume_id in sorted(unknown))
