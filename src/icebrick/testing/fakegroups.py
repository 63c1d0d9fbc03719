"""Cinder's groups and group snapshots in memory; a part of FakeCloud, which counts the calls and holds the lock."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from icebrick.cloud.base import Group, GroupSnapshot, GroupSpec, VolumeSnapshot
from icebrick.errors import ResourceMissingError
from icebrick.testing.fakerecords import FakeRecords, FakeView, require


@dataclass(frozen=True, slots=True)
class FakeGroups:
    """What one login sees of them, and may do."""

    view: FakeView

    @property
    def _records(self) -> FakeRecords:
        return self.view.records

    def where(self, chosen: Callable[[str], bool]) -> list[Group]:
        """Those of the chosen project ids."""
        return [self._told(group) for group in self._records.groups.values() if chosen(group.project_id)]

    def find(self, group_id: str) -> Group | None:
        group = self._records.groups.get(group_id)
        return self._told(group) if group and self.view.sees(group.project_id) else None

    def get(self, group_id: str) -> Group:
        group = self.find(group_id)
        if group is None:
            raise ResourceMissingError(f"group {group_id} could not be found")
        return group

    def create(self, spec: GroupSpec) -> Group:
        if spec.group_type not in self._records.group_types:
            raise ResourceMissingError(f"group type {spec.group_type} could not be found")
        for volume_type in spec.volume_types:
            self.check_volume_type(volume_type)
        group = Group(
            id=str(uuid.uuid4()),
            name=spec.name,
            status="available",
            description=spec.description,
            project_id=self.view.project.id,
            group_type=spec.group_type,
            volume_types=tuple(sorted(spec.volume_types)),
        )
        self._records.groups[group.id] = group
        return self._told(group)

    def check_volume_type(self, name: str) -> None:
        if name not in self._records.volume_types:
            raise ResourceMissingError(f"volume type {name} could not be found")

    def update(self, group_id: str, *, name: str, description: str) -> Group:
        self.get(group_id)
        self._change(group_id, name=name, description=description)
        return self.get(group_id)

    def add(self, group_id: str, volume_id: str) -> None:
        group = self.get(group_id)
        what = f"cannot add volume {volume_id} to group {group_id}"
        volume = self.view.find_volume(volume_id)
        require(volume is not None, f"{what}: it could not be found")
        assert volume is not None, "required"
        if volume.group_id == group_id:
            return
        require(volume.group_id is None, f"{what}: it is in group {volume.group_id}")
        require(volume.project_id == group.project_id, f"{what}: they belong to different projects")
        require(volume.volume_type in group.volume_types, f"{what}: the group has not type {volume.volume_type}")
        require(volume.status in ("available", "in-use"), f"{what}: it is {volume.status}")
        require(group.status == "available", f"{what}: the group is {group.status}")
        self._records.change_volume(volume_id, group_id=group_id)

    def remove(self, volume_id: str) -> None:
        volume = self.view.volume(volume_id)
        removable = volume.status in ("available", "in-use", "error", "error_deleting")
        if volume.group_id is not None:
            require(removable, f"cannot remove volume {volume_id} from its group: it is {volume.status}")
            self._records.change_volume(volume_id, group_id=None)

    def delete(self, group_id: str, *, force: bool = False) -> None:
        group = self.find(group_id)
        if group is None:
            return
        what = f"cannot delete group {group_id}"
        require(force or group.status in ("available", "error"), f"{what}: it is {group.status}")
        snapshots = [s for s in self._records.group_snapshots.values() if s.group_id == group_id]
        require(not snapshots, f"{what}: it has group snapshots")
        require(not group.volume_ids, f"{what}: it has volumes")
        del self._records.groups[group_id]

    # Group snapshots

    def snapshots_where(self, chosen: Callable[[str], bool]) -> list[GroupSnapshot]:
        """Those of the chosen project ids."""
        return [self._taken(taken) for taken in self._records.group_snapshots.values() if chosen(taken.project_id)]

    def create_snapshot(self, group_id: str, *, name: str, description: str) -> GroupSnapshot:
        group = self.get(group_id)
        members = self._records.members(group_id)
        what = f"cannot create a group snapshot of group {group_id}"
        require(bool(members), f"{what}: it is empty")
        for volume in members:
            require(volume.status != "error", f"{what}: volume {volume.id} is in error")
        self.view.charge(sum(volume.size for volume in members))
        project_id = self.view.project.id
        taken = GroupSnapshot(str(uuid.uuid4()), name, "available", group.id, project_id, description)
        self._records.group_snapshots[taken.id] = taken
        for volume in members:
            snapshot = VolumeSnapshot(
                id=str(uuid.uuid4()),
                name=name,
                status="available",
                volume_id=volume.id,
                size=volume.size,
                project_id=project_id,
                group_snapshot_id=taken.id,
            )
            self._records.snapshots[snapshot.id] = snapshot
            self._records.content[snapshot.id] = self._records.content[volume.id].copy()
        return self._taken(taken)

    def delete_snapshot(self, group_snapshot_id: str, *, force: bool = False) -> None:
        taken = self._records.group_snapshots.get(group_snapshot_id)
        if taken is None or not self.view.sees(taken.project_id):
            return
        deletable = force or taken.status in ("available", "error")
        require(deletable, f"cannot delete group snapshot {group_snapshot_id}: it is {taken.status}")
        for snapshot in self._taken(taken).snapshots:
            del self._records.snapshots[snapshot.id], self._records.content[snapshot.id]
        del self._records.group_snapshots[group_snapshot_id]

    # How it is done

    def _told(self, group: Group) -> Group:
        """With its members, and what only an administrator is told."""
        members = tuple(volume.id for volume in self._records.members(group.id))
        consistent = self._records.group_types[group.group_type] if self.view.admin else None
        return replace(group, volume_ids=members, consistent=consistent)

    def _taken(self, taken: GroupSnapshot) -> GroupSnapshot:
        """With its snapshots."""
        snapshots = [s for s in self._records.snapshots.values() if s.group_snapshot_id == taken.id]
        return replace(taken, snapshots=tuple(sorted(snapshots, key=lambda snapshot: snapshot.volume_id)))

    def _change(self, group_id: str, *, name: str, description: str) -> None:
        group = self._records.groups[group_id]
        self._records.groups[group_id] = replace(group, name=name, description=description)
