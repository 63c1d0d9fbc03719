"""How the volumes of a backup are frozen: each by itself, or all members of a group at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icebrick.errors import UnexpectedStateError
from icebrick.workflow.naming import group_tags
from icebrick.workflow.record import GroupRecord
from icebrick.workflow.report import GroupBackup
from icebrick.workflow.scope import FoundGroup
from icebrick.workflow.shared import Shared

if TYPE_CHECKING:
    from icebrick.cloud.base import GroupSnapshot, Volume, VolumeSnapshot
    from icebrick.workflow.access import VolumeAccess


@dataclass(frozen=True, slots=True)
class Frozen:
    """A volume snapshot. `moment` is just before it was taken: what is asked for as of then must not be later data."""

    snapshot: VolumeSnapshot
    moment: datetime
    group: GroupRecord | None = None
    """Of a member that was frozen with all others."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Of the repository's snapshot, by which the group's restore point is found."""
        if self.group is None:
            return ()
        return group_tags(self.group.group.id, self.group.group_snapshot_id, len(self.group.group.volume_ids))


class Freezer:
    """One run's. From any thread; `close` when all jobs have ended."""

    def __init__(self, access: VolumeAccess, groups: Sequence[FoundGroup]) -> None:
        self._access = access
        self._groups = [_GroupFreezer(access, found) for found in groups]
        self._of_member = {volume.id: group for group in self._groups for volume in group.found.members}

    @contextmanager
    def frozen(self, volume: Volume) -> Iterator[Frozen]:
        """As of now, or as of when the first member of its group was frozen. A QuotaError means: later."""
        group = self._of_member.get(volume.id)
        if group is not None:
            with group.frozen(volume.id) as frozen:
                yield frozen
            return
        moment = datetime.now(UTC)
        with self._access.frozen(volume) as snapshot:
            yield Frozen(snapshot, moment)

    def group_id_of(self, volume_id: str) -> str | None:
        """None when it is backed up by itself."""
        group = self._of_member.get(volume_id)
        return None if group is None else group.found.group.id

    def report(self, backed_up: frozenset[str]) -> tuple[GroupBackup, ...]:
        """What became of the groups, of whose members these were backed up."""
        return tuple(group.report(backed_up) for group in self._groups)

    def close(self) -> None:
        for group in self._groups:
            group.close()


class _GroupFreezer:
    """One group snapshot, for all members that are to be backed up."""

    def __init__(self, access: VolumeAccess, found: FoundGroup) -> None:
        self.found = found
        self._access = access
        self._record: GroupRecord | None = None
        self._shared = Shared(self._frozen, len(found.members))

    @contextmanager
    def frozen(self, volume_id: str) -> Iterator[Frozen]:
        with self._shared.used() as (moment, taken, record):
            snapshot = next((each for each in taken.snapshots if each.volume_id == volume_id), None)
            if snapshot is None:
                raise UnexpectedStateError(f"volume {volume_id} is no longer in group {self.found.group.id}")
            yield Frozen(snapshot, moment, record)

    @contextmanager
    def _frozen(self) -> Iterator[tuple[datetime, GroupSnapshot, GroupRecord]]:
        moment = datetime.now(UTC)
        with self._access.frozen_group(self.found.group.id, [volume.id for volume in self.found.members]) as taken:
            # Not the members that were found before: one may have joined meanwhile, and then is one of them.
            members = tuple(snapshot.volume_id for snapshot in taken.snapshots)
            self._record = GroupRecord(replace(self.found.group, volume_ids=members), taken.id)
            yield moment, taken, self._record

    def report(self, backed_up: frozenset[str]) -> GroupBackup:
        group, record = self.found.group, self._record
        members = frozenset(group.volume_ids if record is None else record.group.volume_ids)
        return GroupBackup(
            group_id=group.id,
            name=group.name,
            group_snapshot_id=None if record is None else record.group_snapshot_id,
            members=len(members),
            backed_up=len(members & backed_up),
            complete=record is not None and members <= backed_up,
            consistent=group.consistent,
        )

    def close(self) -> None:
        self._shared.close()
