"""icebrick restore, in the cloud."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from icebrick.app import cloud_run, opened_cloud, project_run, this_host, volume_run
from icebrick.cli.invocation import Invocation
from icebrick.cli.repositories import check_password, opened_repository_of
from icebrick.cli.repository import lock_wait, opened_repository
from icebrick.cli.restored import keep_receipts, note_proofs
from icebrick.cli.told_volumes import tell_volumes
from icebrick.cloud.base import Cloud, Project
from icebrick.config.settings import CloudSettings
from icebrick.errors import IcebrickError, NoRepositoryError, UsageError
from icebrick.workflow.images import Images, load_images
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.outcome import RestoreFailure, VolumesReport
from icebrick.workflow.restoring.places import Logins, Places, opened_places
from icebrick.workflow.restoring.plan import RestoreSource
from icebrick.workflow.scope import ScopeKind
from icebrick.workflow.volume_restore import find_snapshots, joined, run_restore


def restore_volumes(invocation: Invocation, receipt: Path | None = None) -> None:
    """What the settings say, wherever they come from."""
    request = invocation.settings.engine.restore_request()
    if request.remove_old and not invocation.settings.engine.yes:
        _ask_before_removal()
    report = _restore(invocation, request)
    receipts = [*(each.receipt for each in report.restores), *(each.receipt for each in report.failures)]
    keep_receipts(receipt, [each for each in receipts if each is not None])
    tell_volumes(invocation.output, report)


def _ask_before_removal() -> None:
    question = "--remove-old-vol deletes each volume that is replaced, when its replacement is verified"
    if not sys.stdin.isatty():
        raise UsageError(question, hint='Confirm it with --yes, or in a job with "yes": true.')
    if not click.confirm(f"{question}. Go on?", err=True):
        raise IcebrickError("nothing was done, as it was not confirmed")


def _restore(invocation: Invocation, request: RestoreRequest) -> VolumesReport:
    settings = invocation.settings
    with opened_cloud(settings.to_cloud or settings.cloud, invocation.stop) as cloud:
        if _reads_several(invocation, request):
            return _ProjectsRestore(invocation, request, cloud).run()
        host = this_host(settings.agent)
        with (
            opened_repository(invocation, _project_id(invocation, cloud)) as repository,
            volume_run(host, cloud, repository, invocation.progress) as (access, images),
            opened_places(access, partial(project_run, host, access), _logins(invocation)) as places,
        ):
            return _restore_from(invocation, request, images, places, _project_id(invocation, cloud))


def _reads_several(invocation: Invocation, request: RestoreRequest) -> bool:
    """Whether each project's volumes are in a repository of its own. Another cloud does not know of the projects."""
    repository, scope = invocation.settings.repository, request.scope
    everything = scope is not None and scope.kind is ScopeKind.ALL_PROJECTS and request.to_cloud is None
    return everything and repository.is_of_projects and repository.project_id is None


def _restore_from(
    invocation: Invocation, request: RestoreRequest, images: Images, places: Places, project_id: str | None
) -> VolumesReport:
    capacity = new_capacity(invocation.settings.engine.parallel, stop=invocation.stop)
    found = find_snapshots(images, request, project_id)
    for warning in found.warnings:
        invocation.output.warn(warning)
    source = RestoreSource(images, places, request, capacity.slots)
    report = run_restore(found, source, places.own().access, capacity, invocation.progress)
    note_proofs(invocation, images.repository_id, (restored.receipt for restored in report.restores))
    return report


@dataclass(frozen=True, slots=True)
class _ProjectsRestore:
    """All volumes of all projects, each project's from its own repository, one project after the other."""

    invocation: Invocation
    request: RestoreRequest
    cloud: Cloud

    def run(self) -> VolumesReport:
        check_password(self.invocation)
        projects = self.cloud.all_projects()
        host = this_host(self.invocation.settings.agent)
        with (
            cloud_run(host, self.cloud) as access,
            opened_places(access, partial(project_run, host, access), _logins(self.invocation)) as places,
        ):
            reports = list(self._restored(projects, places))
            if not reports:
                location = self.invocation.settings.repository.location
                raise NoRepositoryError(f"none of {len(projects)} projects has a repository at {location}")
            return joined(reports, access)

    def _restored(self, projects: Iterable[Project], places: Places) -> Iterator[VolumesReport]:
        for project in projects:
            self.invocation.stop.check()
            try:
                yield self._restore(project.id, places)
            except NoRepositoryError as error:
                self.invocation.output.say(str(error))
            except IcebrickError as error:
                failure = RestoreFailure(None, None, str(error), error.hint, error.exit_code, project_id=project.id)
                yield VolumesReport(places.own().access.run.id, (), (failure,))

    def _restore(self, project_id: str, places: Places) -> VolumesReport:
        with (
            opened_repository_of(self.invocation, project_id) as repository,
            repository.lock(wait=lock_wait(self.invocation)),
        ):
            images = load_images(repository, self.invocation.progress)
            return _restore_from(self.invocation, self.request, images, places, project_id)


def _project_id(invocation: Invocation, cloud: Cloud) -> str | None:
    """Whose volumes are meant, where nobody says so: in another cloud, the login's project does not tell."""
    settings = invocation.settings
    return settings.repository.project_id or (cloud.project().id if settings.to_cloud is None else None)


def _logins(invocation: Invocation) -> Logins:
    return {
        project_id: partial(opened_cloud, CloudSettings(name), invocation.stop)
        for project_id, name in invocation.settings.engine.project_cloud.items()
    }
