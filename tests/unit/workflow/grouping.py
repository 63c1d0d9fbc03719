"""Groups of volumes in a world, for tests of their backup and their restore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.unit.workflow.conftest import World

from icebrick.cloud.base import Group, GroupSpec, VolumeSpec
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.report import BackupReport
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.outcome import VolumesReport
from icebrick.workflow.scope import Scope, ScopeKind

TYPE = "__DEFAULT__"


@dataclass(frozen=True, slots=True)
class Groups:
    """Makes groups in the world, and backs them up."""

    world: World

    def make(self, members: int, group_type: str = "consistent") -> Group:
        group = self.world.cloud.create_group(GroupSpec("db", group_type, (TYPE,), "the database"))
        for number in range(members):
            self.add(group, bytes([number + 1]) * 4096)
        return self.world.cloud.get_group(group.id)

    def add(self, group: Group, content: bytes = b"new") -> str:
        spec = VolumeSpec(f"member of {group.id[:4]}", 1, volume_type=TYPE, group_id=group.id)
        volume = self.world.cloud.create_volume(spec)
        self.world.cloud.content(volume.id).write(0, content)
        return volume.id

    def back_up(self, *groups: Group, jobs: int = 4, excluded: Sequence[str] = ()) -> BackupReport:
        scope = Scope(ScopeKind.GROUPS, tuple(group.id for group in groups), excluded=tuple(excluded))
        return self.world.back_up_scope(scope, capacity=new_capacity(jobs, threads=2))

    def restore(self, *groups: Group, jobs: int = 4, **asked: Any) -> VolumesReport:
        """`asked` is of the request."""
        scope = Scope(ScopeKind.GROUPS, tuple(group.id for group in groups))
        return self.world.run_restore(RestoreRequest(scope, **asked), capacity=new_capacity(jobs, threads=2))

    def lose(self, group: Group, *volume_ids: str) -> None:
        """These members; without any, the group and all its members."""
        cloud = self.world.cloud
        for volume_id in volume_ids or group.volume_ids:
            cloud.remove_from_group(volume_id)
            cloud.delete_volume(volume_id)
        if not volume_ids:
            cloud.delete_group(group.id)
