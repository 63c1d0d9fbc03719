"""Removing what dead runs left in the cloud."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import chain
from typing import TypeVar

from icebrick.attach.base import Connector
from icebrick.cloud.base import Cloud
from icebrick.cloud.leftovers import Kept, Leftovers, find_leftovers, remove_leftovers
from icebrick.errors import AccessForbiddenError, CloudError, UsageError
from icebrick.run import Run
from icebrick.workflow.living import Life, RunRegistry

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CleanupPlan:
    """What will be removed. `unknown` are runs with something in the cloud of which this host has no note."""

    leftovers: Leftovers
    dead: tuple[str, ...]
    """Ids of this host's runs that are dead and worked in this project, whether or not they left something."""
    unknown: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What was removed, and what was not and why."""

    removed: tuple[str, ...]
    kept: tuple[Kept, ...]
    unknown: tuple[Run, ...]
    given_back: tuple[str, ...] = ()
    """Volumes that runs had taken from servers: as "volume 1f2e... to server 3a4b..."."""


@contextmanager
def reachable_clouds(cloud: Cloud, registry: RunRegistry) -> Iterator[list[Cloud]]:
    """It, and the same user's in the other projects where runs of this host have died, until the block ends."""
    elsewhere = {run.scope for run in registry.dead_runs()} - {"", cloud.project().id}
    with ExitStack() as opened:
        clouds = [cloud]
        for project_id in sorted(elsewhere):
            try:
                clouds.append(opened.enter_context(cloud.in_project(project_id)))
            except AccessForbiddenError as error:  # another user's run: its cleanup will see to it
                log.debug("not looking for leftovers in project=%s error=%s", project_id, error)
        yield clouds


def plan_cleanup(cloud: Cloud, registry: RunRegistry, *, ended: frozenset[str] = frozenset()) -> CleanupPlan:
    """Look for leftovers of this host's dead runs, and of the runs `ended`, which somebody knows have ended.

    UsageError when one of those lives on this host.
    """
    scopes = ("", cloud.project().id)
    # Before looking into the cloud: a run that dies meanwhile is the next one's to clear up after.
    dead = tuple(run.run.id for run in registry.dead_runs() if run.scope in scopes)
    unknown: dict[str, Run] = {}

    def is_alive(run_id: str, host: str) -> bool:
        life = registry.life(run_id, host)
        if run_id in ended:
            if life is Life.LIVING:
                raise UsageError(f"run {run_id} is at work on this host")
            return False
        if life is Life.UNKNOWN:
            unknown[run_id] = Run(run_id, host)
        return life is not Life.DEAD

    leftovers = find_leftovers(cloud, is_alive)
    return CleanupPlan(leftovers, dead, tuple(unknown.values()))


def run_cleanup(plan: CleanupPlan, cloud: Cloud, connector: Connector, registry: RunRegistry) -> CleanupReport:
    """Remove what the plan says; what cannot be removed is in the report, and looked for again the next time."""
    removal = remove_leftovers(cloud, connector, plan.leftovers)
    found = plan.leftovers.runs
    now = datetime.now(UTC)
    for run_id in plan.dead:
        if run_id not in found:
            registry.note_cleared(run_id, now)
    return CleanupReport(removal.removed, removal.kept, plan.unknown, removal.given_back)


def joined_plans(plans: Iterable[CleanupPlan]) -> CleanupPlan:
    """Those of several projects as one, to be shown; an administrator finds the same in each of them."""
    every = list(plans)
    leftovers = {each.name: _all(getattr(plan.leftovers, each.name) for plan in every) for each in fields(Leftovers)}
    return CleanupPlan(Leftovers(**leftovers), _all(plan.dead for plan in every), _all(plan.unknown for plan in every))


def joined_reports(reports: Iterable[CleanupReport]) -> CleanupReport:
    """Those of several projects as one."""
    every = list(reports)
    return CleanupReport(
        **{each.name: _all(getattr(report, each.name) for report in every) for each in fields(CleanupReport)}
    )


def _all(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    """Each item once."""
    found: list[T] = []
    for item in chain.from_iterable(parts):
        if item not in found:  # by what they are: volumes hold mappings, which cannot be hashed
            found.append(item)
    return tuple(found)


def clean_up_first(cloud: Cloud, connector: Connector, registry: RunRegistry) -> None:
    """What every run begins with. A failure is logged and keeps nobody from working."""
    try:
        with reachable_clouds(cloud, registry) as clouds:
            reports = [run_cleanup(plan_cleanup(each, registry), each, connector, registry) for each in clouds]
    except CloudError as error:
        log.warning("cannot look for leftovers of dead runs: %s", error)
        return
    for report in reports:
        for kept in report.kept:
            log.warning("leftover stays: %s: %s", kept.what, kept.reason)
