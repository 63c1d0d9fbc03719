"""The ways to restore a volume. Each is a block: in it the volume is complete, and it stays when that ends well."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from icebrick.cloud.base import Volume, VolumeSpec
from icebrick.cloud.temporary import Owner
from icebrick.errors import BackendError, IcebrickError, Interrupted, QuotaError, RepositoryError
from icebrick.progress import Progress
from icebrick.workflow.access import VolumeAccess
from icebrick.workflow.report import Receipt
from icebrick.workflow.restore_files import FilesReceipt
from icebrick.workflow.restoring.attributes import not_restored, settings_of
from icebrick.workflow.restoring.outcome import NotRestored, VolumeRestore, Way
from icebrick.workflow.restoring.plan import RestoreSource, VolumeRestorePlan, plan_anew

log = logging.getLogger(__name__)

_NO_VOLUMES_FAULT = (Interrupted, QuotaError, RepositoryError, BackendError)
"""Errors that a new volume would meet as well; by a QuotaError the job is queued."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One volume's restore under way. `safety_snapshot_ids` are of what it may have overwritten, well or not."""

    source: RestoreSource
    progress: Progress
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    safety_snapshot_ids: list[str] = field(default_factory=list)

    @contextmanager
    def restored(self, plan: VolumeRestorePlan) -> Iterator[VolumeRestore]:
        """The way that is planned; where that fails and it is wanted, onto a new volume."""
        with ExitStack() as made:
            try:
                result = made.enter_context(self._restored(plan))
            except _NO_VOLUMES_FAULT:
                raise
            except IcebrickError as error:
                if plan.way is Way.NEW or not self.source.request.recreate_on_error:
                    raise
                log.warning("restoring onto a new volume: volume=%s error=%s", plan.volume_id, error)
                anew = plan_anew(self.source, plan, f"restoring {_PHRASE[plan.way]} failed: {error}")
                result = made.enter_context(self._restored(anew))
            yield result

    @contextmanager
    def _restored(self, plan: VolumeRestorePlan) -> Iterator[VolumeRestore]:
        log.info("restoring run=%s snapshot=%s way=%s", plan.place.access.run.id, plan.snapshot.id, plan.way.value)
        if plan.way is Way.IN_PLACE:
            yield self._in_place(plan)
            return
        access = plan.place.access
        owner = Owner(access.cloud)
        with ExitStack() as made:
            if plan.spec is not None:
                volume = _created(plan, plan.spec, owner, made)
            else:
                assert plan.existing is not None, "a plan for a copy"
                volume = made.enter_context(access.copied(plan.existing, owner))
            result = self._fill(plan, access, volume)
            yield replace(result, offer=made.enter_context(plan.place.given(volume, owner)))

    def _in_place(self, plan: VolumeRestorePlan) -> VolumeRestore:
        """Onto the volume itself, which nothing undoes: what it was stays in a volume snapshot."""
        assert plan.existing is not None, "a plan in place"
        with plan.place.access.safeguarded(plan.existing, self.safety_snapshot_ids) as access:
            return self._fill(plan, access, plan.existing)

    def _fill(self, plan: VolumeRestorePlan, access: VolumeAccess, volume: Volume) -> VolumeRestore:
        """Content, proof, attributes."""
        content, model = plan.content, plan.backed_up or plan.existing
        assert model is not None, "a plan has a record or a volume"
        plan.sealing.check(volume)
        devices = plan.sealing.devices(access, volume, new=plan.spec is not None)
        fill = content.fill if plan.spec is None else content.fill_new
        filled = fill(devices, volume, self.progress)
        receipt: Receipt | FilesReceipt | None = None
        if self.source.request.verify:
            receipt = content.verify(devices, volume, self.progress)
        origin = None if plan.spec is not None else plan.existing
        encryption = plan.sealing.finish(access, volume, origin)
        now = access.cloud.apply_settings(volume.id, settings_of(model))
        return VolumeRestore(
            source_id=plan.volume_id,
            snapshot_id=plan.snapshot.id or "",
            volume_id=volume.id,
            project_id=plan.place.project_id,
            way=plan.way,
            reason=plan.reason,
            filled=filled,
            started=self.started,
            ended=datetime.now(UTC),
            receipt=receipt,
            not_restored=tuple(_not_restored(plan, now)),
            encryption=encryption,
        )


class _TooSmall(Exception):
    """A new volume of so many GiB is: only now it is known what its encryption takes."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def _created(plan: VolumeRestorePlan, spec: VolumeSpec, owner: Owner, made: ExitStack) -> Volume:
    """A new volume that the content fits into; it stays or goes with `made`."""
    access = plan.place.access
    try:
        with ExitStack() as first:
            volume = first.enter_context(access.created(spec, owner))
            _check_room(volume, plan.sealing.size_for(access.cloud, volume, plan.content.size))
            made.push(first.pop_all())
            return volume
    except _TooSmall as needed:
        return made.enter_context(access.created(replace(spec, size=needed.size), owner))


def _check_room(volume: Volume, size: int) -> None:
    if size > volume.size:
        raise _TooSmall(size)


_PHRASE = {Way.COPY: "onto a copy", Way.IN_PLACE: "in place"}


def _not_restored(plan: VolumeRestorePlan, now: Volume) -> Iterator[NotRestored]:
    """Of a volume that exists, the attributes that count are those it has now."""
    if plan.spec is not None and plan.backed_up is not None:
        yield from not_restored(plan.backed_up, now, project_id=plan.place.project_id, group=plan.no_group)
    elif plan.existing is not None and plan.existing.group_id not in (None, now.group_id):
        yield NotRestored("group_id", plan.existing.group_id, plan.no_group)
