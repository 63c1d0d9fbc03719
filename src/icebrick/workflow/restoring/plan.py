"""Which way a volume is restored, decided before anything is made."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from icebrick.cloud.base import Volume, VolumeSpec
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.errors import IcebrickError, UnexpectedStateError, UsageError
from icebrick.parallel import Slots
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow import naming
from icebrick.workflow.access import GIB
from icebrick.workflow.images import Images
from icebrick.workflow.naming import tagged
from icebrick.workflow.points import volume_id_of
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.attributes import check_possible, group_to_join, spec_for
from icebrick.workflow.restoring.content import Content, open_content
from icebrick.workflow.restoring.encryption import Sealing, sealing_of
from icebrick.workflow.restoring.old import hindrance
from icebrick.workflow.restoring.outcome import Way
from icebrick.workflow.restoring.places import Place, Places

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestoreSource:
    """What every restore of a run starts from."""

    images: Images
    places: Places
    request: RestoreRequest
    slots: Slots


@dataclass(frozen=True, slots=True)
class VolumeRestorePlan:
    """One volume's. `existing` is the volume as it is now, None when it is gone or not looked for.

    `backed_up` is what the record says of it. That is read only where it is needed: a damaged one must not keep data
    from being restored.
    """

    volume_id: str
    snapshot: Snapshot
    content: Content
    place: Place
    way: Way
    reason: str
    existing: Volume | None
    backed_up: Volume | None
    spec: VolumeSpec | None = None
    """Of the new volume."""
    no_group: str = ""
    """Why the restored volume is not in the group that the volume is or was in."""
    sealing: Sealing = field(default_factory=Sealing)


def plan_volume_restore(source: RestoreSource, snapshot: Snapshot) -> VolumeRestorePlan:
    """Look the volume up and decide. IcebrickError when it cannot be done the way it is asked for."""
    request = source.request
    volume_id = volume_id_of(snapshot)
    if volume_id is None:
        raise UsageError(f"snapshot {snapshot.id} is not of a volume", hint="Restore it with --target.")
    place = _place(source, snapshot)
    options = FileRestoreOptions(overwrite=request.overwrite, delete_extra=request.delete_extra)
    plan = VolumeRestorePlan(
        volume_id=volume_id,
        snapshot=snapshot,
        content=open_content(source.images, snapshot, options, source.slots),
        place=place,
        way=Way.IN_PLACE if request.in_place else Way.COPY,
        reason="the volume exists",
        existing=None,
        backed_up=None,
    )
    if request.to_cloud is not None or request.to_project is not None:
        return plan_anew(source, plan, f"it is for another {'project' if request.to_cloud is None else 'cloud'}")
    existing = place.access.cloud.find_volume(volume_id)
    if existing is None:
        return plan_anew(source, plan, "the volume is gone")
    sealing = sealing_of(source.images, snapshot, existing, drop=request.drop_encryption)
    plan = replace(
        plan, existing=existing, no_group="" if request.in_place else "a copy is in no group", sealing=sealing
    )
    _check_removable(source, plan, existing)
    problem = _problem(plan, existing)
    if problem is None:
        sealing.check(existing)
        return replace(plan, backed_up=_record(source, plan) if request.meta_override else None)
    if not request.recreate_on_error:
        hint = "With --recreate-vol-on-error it is restored onto a new volume."
        raise UnexpectedStateError(f"cannot restore volume {volume_id}: it {problem}", hint=hint)
    return plan_anew(source, plan, f"the volume {problem}")


def plan_anew(source: RestoreSource, plan: VolumeRestorePlan, reason: str) -> VolumeRestorePlan:
    """Instead onto a new volume, made from the record."""
    backed_up = _record(source, plan)
    cloud, request = plan.place.access.cloud, source.request
    sealing = sealing_of(source.images, plan.snapshot, None, drop=request.drop_encryption)
    spec = spec_for(backed_up, plan.content.size, request.map_type, request.map_az)
    check_possible(cloud, spec)
    no_group = "the volume is another project's until it is accepted"
    if plan.place.is_direct:
        group_id, no_group = group_to_join(cloud, backed_up, spec)
        spec = replace(spec, group_id=group_id)
    return replace(plan, way=Way.NEW, reason=reason, backed_up=backed_up, spec=spec, no_group=no_group, sealing=sealing)


def _place(source: RestoreSource, snapshot: Snapshot) -> Place:
    request = source.request
    project_id = request.to_project
    if project_id is None and request.to_cloud is None:
        project_id = tagged(snapshot.tags, naming.PROJECT)
    place = source.places.find(project_id) if project_id else source.places.own()
    if request.in_place and not place.is_direct:
        raise UsageError(
            f"in-place needs a role in project {place.project_id}",
            hint="Else the volume snapshot of what the volume was would be kept in another project than the volume.",
        )
    return place


def _record(source: RestoreSource, plan: VolumeRestorePlan) -> Volume:
    backed_up = source.images.record(plan.snapshot).volume
    if backed_up.id != plan.volume_id:
        raise IcebrickError(
            f"the record in snapshot {plan.snapshot.id} is of volume {backed_up.id}, not of {plan.volume_id}"
        )
    return backed_up


def _problem(plan: VolumeRestorePlan, existing: Volume) -> str | None:
    """Why the volume that exists cannot be restored onto, behind "it"."""
    if existing.status.startswith("error"):
        return f"is in state {existing.status}"
    if existing.size * GIB < plan.content.size:
        return f"has {existing.size} GiB, and snapshot {plan.snapshot.id} needs {plan.content.size} bytes"
    if plan.way is Way.IN_PLACE and existing.status != "available":
        return f"is {existing.status}, and has to be detached to be restored in place"
    if plan.way is Way.IN_PLACE and existing.read_only:
        return "is read-only, and cannot be restored in place"
    return None


def _check_removable(source: RestoreSource, plan: VolumeRestorePlan, existing: Volume) -> None:
    """Before hours of work, not after them."""
    if source.request.remove_old:
        reason = hindrance(plan.place.access.cloud, existing)
        if reason is not None:
            raise UsageError(
                f"remove-old-vol cannot delete volume {existing.id}: it {reason}",
                hint="Restore without remove-old-vol, and delete the volume when it is free.",
            )
