"""The only place where settings become objects."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from icebrick.backend.base import Backend
from icebrick.backend.kept import open_kept
from icebrick.backend.media import open_backend
from icebrick.backend.wrap.cache import CacheBackend
from icebrick.backend.wrap.limit import LimitBackend, TokenBucket
from icebrick.backend.wrap.log import LogBackend
from icebrick.backend.wrap.retry import RetryBackend, RetryPolicy, RetryTime
from icebrick.config.settings import AgentSettings, CloudSettings, ReaderSettings, RepositorySettings
from icebrick.errors import UsageError
from icebrick.parallel import Stop
from icebrick.progress import Progress
from icebrick.repository.repository import Repository
from icebrick.run import Run, new_run
from icebrick.workflow.images import Images, load_images

if TYPE_CHECKING:  # what only volumes need is imported where they come in: images are backed up without waiting for it
    from icebrick.attach.base import Connector
    from icebrick.cloud.base import Cloud
    from icebrick.workflow.access import VolumeAccess
    from icebrick.workflow.living import RunRegistry
    from icebrick.workflow.readers import FileReader


_NEAR = frozenset({"local", "mem"})


@dataclass(frozen=True, slots=True)
class Host:
    """What this host brings: how it attaches volumes, and which of its runs live."""

    connector: Connector
    registry: RunRegistry
    lock_wait: timedelta


@contextmanager
def opened_backend(settings: RepositorySettings, stop: Stop | None = None) -> Iterator[Backend]:
    """The repository's storage, with all that serves a repository round it. UsageError when no location is given."""
    with opened_medium(settings, stop) as medium:
        yield _cached(medium, settings)


@contextmanager
def opened_medium(
    settings: RepositorySettings, stop: Stop | None = None, policy: RetryPolicy | None = None
) -> Iterator[Backend]:
    """The storage itself, whatever it holds, within its limits and tried again by the policy; UsageError likewise."""
    if settings.location is None:
        raise UsageError(
            "no repository is named", hint="Use -r LOCATION, RESTIC_REPOSITORY, or a [repository:NAME] section."
        )
    stop = stop or Stop()
    with closing(open_backend(settings.location, settings.backend)) as raw:
        limited = LimitBackend(
            raw,
            connections=settings.connections,
            upload=_bucket(settings.upload_limit, stop),
            download=_bucket(settings.download_limit, stop),
        )
        yield RetryBackend(LogBackend(limited), policy or RetryPolicy(), RetryTime(sleep=stop.pause), stop)


@contextmanager
def opened_cloud(settings: CloudSettings, stop: Stop | None = None) -> Iterator[Cloud]:
    """Logged in, until the block ends; nothing more is waited for when `stop` is asked for, but what goes."""
    from icebrick.cloud.session import connect  # noqa: PLC0415

    with closing(connect(settings.cloud, stop=stop)) as cloud:
        yield cloud


def this_host(settings: AgentSettings) -> Host:
    """Nothing is asked of the host yet."""
    from icebrick.attach.brick import BrickConnector, BrickSettings  # noqa: PLC0415
    from icebrick.workflow.living import RunRegistry  # noqa: PLC0415

    brick = BrickSettings(
        state_dir=settings.state_dir,
        ip=settings.my_ip,
        multipath=settings.multipath,
        enforce_multipath=settings.enforce_multipath,
    )
    return Host(
        connector=BrickConnector(brick),
        registry=RunRegistry(settings.state_dir, socket.gethostname()),
        lock_wait=timedelta(seconds=settings.retry_lock),
    )


def isolated_reader(settings: ReaderSettings, stop: Stop | None = None) -> FileReader:
    """Nothing is started yet."""
    from icebrick.microvm.channel import Patience  # noqa: PLC0415
    from icebrick.microvm.qemu import Limits  # noqa: PLC0415
    from icebrick.workflow.readers import IsolatedReader  # noqa: PLC0415

    return IsolatedReader(
        settings.directory, Limits(memory=settings.memory), Patience(total=settings.seconds), stop or Stop()
    )


@contextmanager
def cloud_run(
    host: Host,
    cloud: Cloud,
    *,
    cold: bool = False,
    recreate_on_error: bool = False,
    reader: FileReader | None = None,
) -> Iterator[VolumeAccess]:
    """A run that works on volumes: alive for others to see, dead runs cleared up.

    A `cold` one takes volumes from their servers before it freezes them. With `recreate_on_error`, clones that fail
    are made again. Without a `reader` of file systems, it is this host.
    """
    from icebrick.workflow.access import CLONE_RETRIES, VolumeAccess  # noqa: PLC0415
    from icebrick.workflow.cleanup import clean_up_first  # noqa: PLC0415
    from icebrick.workflow.readers import HostReader  # noqa: PLC0415

    properties = host.connector.properties()  # first: a host that cannot attach must not make anything
    run = new_run(datetime.now(UTC))
    with host.registry.living(run, scope=cloud.project().id) as living:
        clean_up_first(cloud, host.connector, host.registry)
        retries = CLONE_RETRIES if recreate_on_error else 0
        access = VolumeAccess(
            cloud,
            host.connector,
            properties,
            run,
            cold=cold,
            clone_retries=retries,
            reader=reader or HostReader(),
        )
        yield access
        living.cleared = not (access.leftovers or access.away or access.failed.is_set())


@contextmanager
def project_run(host: Host, access: VolumeAccess, project_id: str) -> Iterator[VolumeAccess]:
    """The same user's way to another project's volumes; AccessForbiddenError without a role there.

    A run by itself, so that what it leaves when it dies is looked for there.
    """
    run = new_run(datetime.now(UTC))
    with access.cloud.in_project(project_id) as cloud, host.registry.living(run, scope=project_id) as living:
        there = replace(access, cloud=cloud, run=run)
        yield there
        living.cleared = not (there.leftovers or there.failed.is_set())


@contextmanager
def volume_run(
    host: Host, cloud: Cloud, repository: Repository, progress: Progress, *, cold: bool = False
) -> Iterator[tuple[VolumeAccess, Images]]:
    """The same, with a repository that is locked and read."""
    with cloud_run(host, cloud, cold=cold) as access, repository.lock(wait=host.lock_wait):
        yield access, load_images(repository, progress)


@contextmanager
def image_run(repository: Repository, progress: Progress, *, lock_wait: timedelta) -> Iterator[tuple[Run, Images]]:
    """A run that needs no cloud: only the repository, locked and read."""
    with repository.lock(wait=lock_wait):
        yield new_run(datetime.now(UTC)), load_images(repository, progress)


def _cached(medium: Backend, settings: RepositorySettings) -> Backend:
    """With a cache, where one is wanted and not all is on this host anyway."""
    if settings.cache is None or settings.location is None or settings.location.scheme in _NEAR:
        return medium
    kept = open_kept(settings.cache.directory, str(settings.location), settings.cache.size)
    return medium if kept is None else CacheBackend(medium, kept)


def _bucket(rate: int | None, stop: Stop) -> TokenBucket | None:
    return None if rate is None else TokenBucket(rate, stop=stop)
