"""icebrick restore, in the cloud."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from icebrick.app import opened_cloud, project_run, this_host, volume_run
from icebrick.cli.invocation import Invocation
from icebrick.cli.repository import opened_repository
from icebrick.cli.restored import keep_receipts
from icebrick.cli.told_volumes import tell_volumes
from icebrick.cloud.base import Cloud
from icebrick.config.settings import CloudSettings
from icebrick.errors import IcebrickError, UsageError
from icebrick.workflow.parallel import new_capacity
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.outcome import VolumesReport
from icebrick.workflow.restoring.places import Logins, opened_places
from icebrick.workflow.restoring.plan import RestoreSource
from icebrick.workflow.volume_restore import find_snapshots, run_restore


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
    host = this_host(settings.agent)
    capacity = new_capacity(settings.engine.parallel, stop=invocation.stop)
    with (
        opened_cloud(settings.to_cloud or settings.cloud, capacity.stop) as cloud,
        opened_repository(invocation, _project_id(invocation, cloud)) as repository,
        volume_run(host, cloud, repository, invocation.progress) as (access, images),
        opened_places(access, partial(project_run, host, access), _logins(invocation)) as places,
    ):
        found = find_snapshots(images, request, _project_id(invocation, cloud))
        for warning in found.warnings:
            invocation.output.warn(warning)
        source = RestoreSource(images, places, request, capacity.slots)
        return run_restore(found, source, access, capacity, invocation.progress)


def _project_id(invocation: Invocation, cloud: Cloud) -> str | None:
    """Whose volumes are meant, where nobody says so: in another cloud, the login's project does not tell."""
    settings = invocation.settings
    return settings.repository.project_id or (cloud.project().id if settings.to_cloud is None else None)


def _logins(invocation: Invocation) -> Logins:
    return {
        project_id: partial(opened_cloud, CloudSettings(name), invocation.stop)
        for project_id, name in invocation.settings.engine.project_cloud.items()
    }
