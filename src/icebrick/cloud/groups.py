"""Cinder's groups and group snapshots: a part of CinderCloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from icebrick.cloud.api import Json, RestApi
from icebrick.cloud.base import Group, GroupSnapshot, GroupSpec, Project, VolumeSnapshot
from icebrick.cloud.lifecycle import Lifecycle, found_by
from icebrick.cloud.records import snapshot_from, volume_from
from icebrick.cloud.wait import Resource
from icebrick.errors import UnexpectedStateError

_CHANGING = frozenset({"creating", "updating", "deleting"})
_SNAPSHOT_CHANGING = frozenset({"creating", "deleting", "deleted"})
_WITH_MEMBERS = {"list_volume": "true"}
_ALL = {"all_tenants": "1"}
_CONSISTENT = "consistent_group_snapshot_enabled"
_TRUE = "<is> true"


@dataclass(frozen=True, slots=True)
class _Types:
    """Names by id. `consistent` is by group type id, empty for all but administrators."""

    group: Mapping[str, str]
    volume: Mapping[str, str]
    consistent: Mapping[str, bool]


class CinderGroups:
    """Of one login; what each method promises is said in `Cloud`."""

    def __init__(self, api: RestApi, project: Project, lifecycle: Lifecycle) -> None:
        self._api = api
        self._project = project
        self._lifecycle = lifecycle

    def groups(self, *, of_all: bool) -> Sequence[Group]:
        scope = _ALL if of_all else {}
        records = self._api.list_all("/groups/detail", "groups", "list groups", **_WITH_MEMBERS, **scope)
        types = self._types() if records else None
        return [self._group_from(record, types) for record in records if types]

    def get(self, group_id: str) -> Group:
        return self._group_from(self._record(group_id), self._types())

    def create(self, spec: GroupSpec) -> Group:
        body = {
            "name": spec.name,
            "description": spec.description,
            "group_type": spec.group_type,
            "volume_types": list(spec.volume_types),
        }
        made = self._api.post("/groups", {"group": body}, f"create group {spec.name}")["group"]
        what = Resource("group", made["id"], f"({spec.name})")
        with self._lifecycle.discarded_on_error(lambda: self.delete(made["id"]), what):
            self._lifecycle.until_made(lambda: self._brief(made["id"]), what)
            return self.get(made["id"])

    def update(self, group_id: str, *, name: str, description: str) -> Group:
        present = self._brief(group_id)
        changes = {
            key: wanted
            for key, wanted, has in (("name", name, present.name), ("description", description, present.description))
            if wanted != has
        }
        if changes:  # Cinder takes a request that changes nothing for a mistake
            self._change(group_id, changes, f"update group {group_id}")
        return self.get(group_id)

    def add(self, group_id: str, volume_id: str) -> None:
        doing = f"add volume {volume_id} to group {group_id}"
        if volume_id not in self._brief(group_id).volume_ids:
            self._change(group_id, {"add_volumes": volume_id}, doing)
            if volume_id not in self._brief(group_id).volume_ids:
                raise UnexpectedStateError(f"cannot {doing}: the back end refused")

    def remove(self, volume_id: str) -> None:
        doing = f"remove volume {volume_id} from its group"
        volume = volume_from(self._api.get(f"/volumes/{volume_id}", doing)["volume"])
        if volume.group_id is not None:
            self._change(volume.group_id, {"remove_volumes": volume_id}, doing)

    def delete(self, group_id: str) -> None:
        what = Resource("group", group_id)
        if self._lifecycle.settled(lambda: found_by(lambda: self._brief(group_id)), _CHANGING, what):
            self._delete(group_id)

    def force_delete(self, group_id: str) -> None:
        found = found_by(lambda: self._brief(group_id))
        if found is None:
            return
        # Before its state is changed, which would otherwise stay changed when Cinder then refuses.
        taken = [each["id"] for each in self._snapshot_records(**_ALL) if each["group_id"] == group_id]
        if found.volume_ids or taken:
            raise UnexpectedStateError(f"cannot delete group {group_id}: it has volumes or group snapshots")
        self._reset(f"/groups/{group_id}", f"reset group {group_id}")
        self._delete(group_id)

    # Group snapshots

    def snapshots(self, *, of_all: bool) -> Sequence[GroupSnapshot]:
        scope = _ALL if of_all else {}
        records = self._snapshot_records(**scope)
        members = self._members(of_all=of_all) if records else {}
        return [self._group_snapshot_from(record, members.get(record["id"], ())) for record in records]

    def create_snapshot(self, group_id: str, *, name: str, description: str) -> GroupSnapshot:
        doing = f"create a group snapshot of group {group_id}"
        if not self._brief(group_id).volume_ids:  # Cinder takes it, and it goes to error
            raise UnexpectedStateError(f"cannot {doing}: the group is empty")
        body = {"group_snapshot": {"group_id": group_id, "name": name, "description": description}}
        made: str = self._api.post("/group_snapshots", body, doing)["group_snapshot"]["id"]
        what = Resource("group snapshot", made, f"of group {group_id}")
        with self._lifecycle.discarded_on_error(lambda: self.delete_snapshot(made), what):
            taken = self._lifecycle.until_made(lambda: self._get_snapshot(made), what)
            return replace(taken, snapshots=self._members(of_all=False).get(made, ()))

    def delete_snapshot(self, group_snapshot_id: str) -> None:
        what = Resource("group snapshot", group_snapshot_id)
        found = self._lifecycle.settled(lambda: self._find_snapshot(group_snapshot_id), _SNAPSHOT_CHANGING, what)
        if found is not None:
            self._delete_snapshot(found)

    def force_delete_snapshot(self, group_snapshot_id: str) -> None:
        found = self._find_snapshot(group_snapshot_id)
        if found is not None:
            self._reset(f"/group_snapshots/{found.id}", f"reset group snapshot {found.id}")
            self._delete_snapshot(found)

    # How it is done

    def _record(self, group_id: str) -> Json:
        answer: Json = self._api.get(f"/groups/{group_id}", f"read group {group_id}", **_WITH_MEMBERS)["group"]
        return answer

    def _brief(self, group_id: str) -> Group:
        """Without the names of types, which take two more requests."""
        return self._group_from(self._record(group_id), _Types({}, {}, {}))

    def _snapshot_records(self, **scope: str) -> list[Json]:
        return self._api.list_all("/group_snapshots/detail", "group_snapshots", "list group snapshots", **scope)

    def _change(self, group_id: str, changes: Json, doing: str) -> None:
        what = Resource("group", group_id)
        self._lifecycle.settled(lambda: self._brief(group_id), _CHANGING, what)
        self._api.put(f"/groups/{group_id}", {"group": changes}, doing)
        self._lifecycle.until_available(lambda: self._brief(group_id), what)

    def _delete(self, group_id: str) -> None:
        # Never with 'delete-volumes': a volume that joined meanwhile must not go with it.
        body = {"delete": {"delete-volumes": False}}
        self._api.post_if_there(f"/groups/{group_id}/action", body, f"delete group {group_id}")
        self._lifecycle.until_gone(lambda: found_by(lambda: self._brief(group_id)), Resource("group", group_id))

    def _delete_snapshot(self, found: GroupSnapshot) -> None:
        self._api.delete(f"/group_snapshots/{found.id}", f"delete group snapshot {found.id}")

        def find() -> GroupSnapshot | VolumeSnapshot | None:
            """Itself, or what is left of its snapshots: as long as there is one, the group cannot be deleted."""
            own = found.project_id == self._project.id
            left = self._members(of_all=not own).get(found.id, ())
            return self._find_snapshot(found.id) or next(iter(left), None)

        self._lifecycle.until_gone(find, Resource("group snapshot", found.id))

    def _reset(self, path: str, doing: str) -> None:
        self._api.post(f"{path}/action", {"reset_status": {"status": "error"}}, doing)

    def _find_snapshot(self, group_snapshot_id: str) -> GroupSnapshot | None:
        return found_by(lambda: self._get_snapshot(group_snapshot_id))

    def _get_snapshot(self, group_snapshot_id: str) -> GroupSnapshot:
        doing = f"read group snapshot {group_snapshot_id}"
        answer = self._api.get(f"/group_snapshots/{group_snapshot_id}", doing)
        return self._group_snapshot_from(answer["group_snapshot"], ())

    def _members(self, *, of_all: bool) -> dict[str, tuple[VolumeSnapshot, ...]]:
        """By group snapshot; Cinder cannot be asked for one's alone."""
        scope = _ALL if of_all else {}
        records = self._api.list_all("/snapshots/detail", "snapshots", "list volume snapshots", **scope)
        found: dict[str, list[VolumeSnapshot]] = {}
        for snapshot in map(snapshot_from, records):
            if snapshot.group_snapshot_id is not None:
                found.setdefault(snapshot.group_snapshot_id, []).append(snapshot)
        return {key: tuple(sorted(each, key=lambda snapshot: snapshot.volume_id)) for key, each in found.items()}

    def _types(self) -> _Types:
        groups = self._api.list_all("/group_types", "group_types", "list group types")
        volumes = self._api.list_all("/types", "volume_types", "list volume types")
        specs = {each["id"]: each["group_specs"] for each in groups if "group_specs" in each}
        return _Types(
            group={each["id"]: each["name"] for each in groups},
            volume={each["id"]: each["name"] for each in volumes},
            consistent={key: str(told.get(_CONSISTENT)).lower() == _TRUE for key, told in specs.items()},
        )

    def _group_from(self, record: Mapping[str, Any], types: _Types) -> Group:
        group_type: str = record["group_type"]
        return Group(
            id=record["id"],
            name=record.get("name") or "",
            status=record["status"],
            description=record.get("description") or "",
            project_id=record.get("project_id") or self._project.id,  # members are not told, and see only their own
            group_type=types.group.get(group_type, group_type),
            volume_types=tuple(sorted(types.volume.get(each, each) for each in record["volume_types"])),
            volume_ids=tuple(sorted(record.get("volumes") or ())),
            consistent=types.consistent.get(group_type),
        )

    def _group_snapshot_from(self, record: Mapping[str, Any], snapshots: tuple[VolumeSnapshot, ...]) -> GroupSnapshot:
        return GroupSnapshot(
            id=record["id"],
            name=record.get("name") or "",
            status=record["status"],
            group_id=record["group_id"],
            project_id=record.get("project_id") or self._project.id,  # as above
            description=record.get("description") or "",
            snapshots=snapshots,
        )
