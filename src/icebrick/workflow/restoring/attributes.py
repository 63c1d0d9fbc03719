"""What a restored volume shall be like, and what of the backed-up one it cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from icebrick.cloud.base import Cloud, Volume, VolumeSettings, VolumeSpec
from icebrick.errors import IcebrickError
from icebrick.workflow.access import GIB
from icebrick.workflow.naming import is_id
from icebrick.workflow.restoring.outcome import NotRestored

_BELONGS_TO_CINDER = "Cinder decides that for each volume"
_NEVER = {
    "created_at": "it is when the new volume was made",
    "user_id": "it is whoever makes the new volume",
    "attachments": "servers are given the new volume by hand",
    "os-vol-host-attr:host": _BELONGS_TO_CINDER,
    "service_uuid": _BELONGS_TO_CINDER,
    "provider_id": _BELONGS_TO_CINDER,
    "cluster_name": _BELONGS_TO_CINDER,
    "shared_targets": _BELONGS_TO_CINDER,
    "replication_status": "the type decides that",
    "snapshot_id": "the new volume was not made from a volume snapshot",
    "source_volid": "the new volume was not made from a volume",
    "consistencygroup_id": "Cinder has groups instead",
    "os-vol-mig-status-attr:migstat": "the new volume was never migrated",
    "os-vol-mig-status-attr:name_id": "the new volume was never migrated",
}
"""Keys of Cinder's own record that no request can set, and why."""
_NOTHING: tuple[Any, ...] = (None, "", [], False, "disabled")
"""What says no more than that there was nothing."""


def settings_of(volume: Volume) -> VolumeSettings:
    """Those of the volume, to be put on another one."""
    return VolumeSettings(
        name=volume.name,
        description=volume.description,
        metadata=volume.metadata,
        image_metadata=volume.image_metadata,
        bootable=volume.bootable,
        read_only=volume.read_only,
    )


def spec_for(volume: Volume, size: int, types: Mapping[str, str], zones: Mapping[str, str]) -> VolumeSpec:
    """A new volume like this one, of at least `size` bytes. `types` and `zones` say what shall be instead of what."""
    return VolumeSpec(
        name=volume.name,
        size=max(volume.size, -(-size // GIB)),
        description=volume.description,
        volume_type=types.get(volume.volume_type or "", volume.volume_type),
        availability_zone=zones.get(volume.availability_zone or "", volume.availability_zone),
        metadata=volume.metadata,
    )


def check_possible(cloud: Cloud, spec: VolumeSpec) -> None:
    """IcebrickError that names the option to use, when the type or the zone is not there."""
    choices = (
        ("volume type", spec.volume_type, cloud.volume_types, "--map-type"),
        ("availability zone", spec.availability_zone, cloud.availability_zones, "--map-az"),
    )
    for what, wanted, there, option in choices:
        if wanted is not None and wanted not in (found := there()):
            raise IcebrickError(
                f"there is no {what} {wanted} here for a new volume {spec.name}".rstrip(),
                hint=f"Choose another one with {option} {wanted}=NEW; there are: {', '.join(sorted(found))}.",
            )


def group_to_join(cloud: Cloud, volume: Volume, spec: VolumeSpec) -> tuple[str | None, str]:
    """The group of the backed-up volume, when the new one can be a member; else None and why not."""
    if volume.group_id is None:
        return None, ""
    group = cloud.find_group(volume.group_id) if is_id(volume.group_id) else None
    if group is None:
        return None, "the group is gone"
    if group.project_id != cloud.project().id:
        return None, "the group is another project's"
    if group.status != "available":
        return None, f"the group is {group.status}"
    if spec.volume_type not in group.volume_types:
        return None, f"the group takes no volumes of type {spec.volume_type}"
    return group.id, ""


def not_restored(was: Volume, now: Volume, *, project_id: str, group: str) -> Iterator[NotRestored]:
    """What a new volume has not of the backed-up one; `group` says why it is in no group.

    `project_id` is whose it becomes.
    """
    if was.project_id not in ("", project_id):
        yield NotRestored("project_id", was.project_id, "another project was asked for")
    reasons = {
        "volume_type": "mapped to {}",
        "availability_zone": "mapped to {}",
        "size": "{} GiB were needed",
        "multiattach": "the type decides that",
        "encrypted": "the type decides that",
        "group_id": group,
    }
    for attribute, reason in reasons.items():
        before, after = getattr(was, attribute), getattr(now, attribute)
        if before not in (None, after):
            yield NotRestored(attribute, before, reason.format(after))
    for key, reason in _NEVER.items():
        if (told := was.record.get(key)) not in _NOTHING:
            yield NotRestored(key, told, reason)
