"""Restoring a group from one of its restore points: all members, or none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from icebrick.cloud.base import Group, GroupSpec
from icebrick.cloud.temporary import unfinished_group
from icebrick.errors import CloudError, IcebrickError, Interrupted, QuotaError, ResourceMissingError
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.parallel import Done, Failed, Outcome
from icebrick.workflow.points import RestorePoint
from icebrick.workflow.restoring.outcome import GroupRestore, VolumeRestore, Way
from icebrick.workflow.restoring.places import Place
from icebrick.workflow.restoring.plan import RestoreSource, VolumeRestorePlan, plan_volume_restore
from icebrick.workflow.restoring.ways import Attempt

log = logging.getLogger(__name__)


class GroupAttempt:
    """One restore point's restore under way: of each member by a job of its own. `close` when all jobs have ended.

    What is made of a member stays unfinished until the last is complete, and then all are finished; so by an error,
    or when the process dies, all go.
    """

    def __init__(self, source: RestoreSource, point: RestorePoint) -> None:
        self.point = point
        self._source = source
        self._lock = threading.Lock()  # guards all below; held while the group is made, finished and undone
        self._plans: dict[str | None, VolumeRestorePlan] = {}
        self._group: Group | None = None
        self._made = ExitStack()  # the group
        self._kept: list[tuple[VolumeRestore, ExitStack]] = []
        self._at_work = 0
        self._failure: IcebrickError | None = None
        self._is_whole = False
        self._marked: dict[str, CloudError] = {}  # complete, but could not be finished

    def restore(self, attempt: Attempt, snapshot: Snapshot) -> VolumeRestore:
        """One member. It is not told by this whether it stays, but by `settled`."""
        plan = self._begin(snapshot)
        with self._at_end(), ExitStack() as made:
            restored = made.enter_context(attempt.restored(plan))
            if self._group is not None:
                plan.place.access.cloud.add_to_group(self._group.id, restored.volume_id)
            with self._lock:
                self._kept.append((restored, made.pop_all()))
        return restored

    def close(self) -> None:
        """What is not whole by now never will be."""
        with self._lock:
            if not self._is_whole:
                self._undo(self._failure or self._refusal())

    def settled(self, snapshot: Snapshot, outcome: Outcome[VolumeRestore]) -> Outcome[VolumeRestore]:
        """What became of a member in the end."""
        if not isinstance(outcome, Done):
            return outcome
        if not self._is_whole:
            return Failed(self._refusal())
        marked = self._marked.get(outcome.result.source_id)
        return outcome if marked is None else Failed(marked)

    def plan_of(self, snapshot: Snapshot) -> VolumeRestorePlan:
        """When it was restored."""
        return self._plans[snapshot.id]

    def report(self) -> GroupRestore:
        return GroupRestore(
            source_id=self.point.group_id,
            group_snapshot_id=self.point.group_snapshot_id,
            members=len(self.point.members),
            restored=self._is_whole,
            new_group_id=self._group.id if self._is_whole and self._group is not None else None,
        )

    def _begin(self, snapshot: Snapshot) -> VolumeRestorePlan:
        with self._lock:
            if self._failure is not None:
                raise self._refusal()
            if not self._plans:
                self._plans = self._prepared()
            self._at_work += 1
            return self._plans[snapshot.id]

    def _refusal(self) -> IcebrickError:
        problem = self._failure
        if isinstance(problem, Interrupted):
            return problem
        why = "another member was not restored" if problem is None else str(problem)
        return IcebrickError(f"group {self.point.group_id} is restored whole or not at all: {why}")

    @contextmanager
    def _at_end(self) -> Iterator[None]:
        failure: IcebrickError | None = None
        try:
            yield
        except QuotaError:  # to be begun again
            raise
        except IcebrickError as error:
            failure = error
            raise
        finally:
            self._end(failure)

    def _end(self, failure: IcebrickError | None) -> None:
        with self._lock:
            self._at_work -= 1
            self._failure = self._failure or failure
            if self._at_work:
                return
            if self._failure is not None:
                self._undo(self._failure)
            elif len(self._kept) == len(self.point.members):
                self._finish()

    def _finish(self) -> None:
        for restored, made in self._kept:
            try:
                made.close()
            except CloudError as error:  # its data is complete, and so the others stay
                self._marked[restored.source_id] = error
        self._made.close()
        self._is_whole = True
        log.info("restored group=%s volumes=%d", self.point.group_id, len(self._kept))

    def _undo(self, failure: IcebrickError) -> None:
        while self._kept:
            self._unwind(self._kept.pop()[1], failure)
        self._unwind(self._made.pop_all(), failure)

    def _unwind(self, made: ExitStack, failure: IcebrickError) -> None:
        try:
            with made:
                raise failure
        except IcebrickError as error:
            if error is not failure:
                self._source.places.own().access.leftovers.append(str(error))

    def _prepared(self) -> dict[str | None, VolumeRestorePlan]:
        """All plans, before anything is made; and the group, when it is gone."""
        try:
            plans = {snapshot.id: plan_volume_restore(self._source, snapshot) for snapshot in self.point.members}
            place = self._place(list(plans.values()))
            if self._is_gone(place):
                self._group = self._made.enter_context(self._new_group(place, list(plans.values())))
        except QuotaError:
            raise
        except IcebrickError as error:
            self._failure = error
            raise
        return {key: self._in_group(plan) for key, plan in plans.items()}

    def _place(self, plans: Sequence[VolumeRestorePlan]) -> Place:
        place, *others = {plan.place.project_id: plan.place for plan in plans}.values()
        if others:
            raise IcebrickError(f"the volumes of group {self.point.group_id} were of several projects")
        return place

    def _is_gone(self, place: Place) -> bool:
        """Nothing can be handed over in a group; then the volumes come without one."""
        if not place.is_direct:
            return False
        request = self._source.request
        is_elsewhere = request.to_cloud is not None or request.to_project is not None
        return is_elsewhere or place.access.cloud.find_group(self.point.group_id) is None

    @contextmanager
    def _new_group(self, place: Place, plans: Sequence[VolumeRestorePlan]) -> Iterator[Group]:
        access, types = place.access, self._source.request.map_type
        was = self._recorded()
        there = set(access.cloud.volume_types())
        needed = {each for plan in plans if (each := _volume_type(plan)) is not None}
        others = {types.get(each, each) for each in was.volume_types} & there
        spec = GroupSpec(
            name=was.name,
            group_type=types.get(was.group_type, was.group_type),
            volume_types=tuple(sorted(others | needed)),
            description=was.description,
        )
        with ExitStack() as made:
            try:
                group = made.enter_context(unfinished_group(access.cloud, spec, access.run, access.leftovers))
            except ResourceMissingError as error:
                hint = f"Choose another group type with --map-type {was.group_type}=NEW."
                raise IcebrickError(f"cannot make group {self.point.group_id} again: {error}", hint=hint) from error
            yield group

    def _recorded(self) -> Group:
        snapshot = self.point.members[0]
        recorded = self._source.images.record(snapshot).group
        if recorded is None or recorded.group.id != self.point.group_id:
            raise IcebrickError(f"the record in snapshot {snapshot.id} does not tell of group {self.point.group_id}")
        return recorded.group

    def _in_group(self, plan: VolumeRestorePlan) -> VolumeRestorePlan:
        """A new volume is born into the new group; a copy joins it when it is complete."""
        if self._group is None or plan.way is not Way.NEW or plan.spec is None:
            return plan
        reason = f"the new group {self._group.id} is in its place"
        return replace(plan, spec=replace(plan.spec, group_id=self._group.id), no_group=reason)


def _volume_type(plan: VolumeRestorePlan) -> str | None:
    """Of the volume that will be restored."""
    model = plan.spec or plan.existing
    return None if model is None else model.volume_type
