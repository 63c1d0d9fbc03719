"""A cloud, a host and a repository in memory, and what a run of them looks like."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from icebrick.app import Host, cloud_run, project_run, volume_run
from icebrick.backend.memory import MemoryBackend
from icebrick.blockdev import Extent
from icebrick.cloud.base import Volume, VolumeSettings, VolumeSpec
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.keyfile import ScryptParameters
from icebrick.repository.repository import Repository, init_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.secret import Secret
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector
from icebrick.testing.fakehost import FakeTime, fake_host
from icebrick.workflow.access import VolumeAccess
from icebrick.workflow.backup import plan_backup, run_backup
from icebrick.workflow.destination import OneDestination, opened_destination
from icebrick.workflow.encryption import EncryptedVolumes
from icebrick.workflow.images import Images
from icebrick.workflow.living import RunRegistry
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.parallel import Capacity, new_capacity
from icebrick.workflow.readers import FileReader, HostReader
from icebrick.workflow.report import BackupReport
from icebrick.workflow.request import RestoreRequest
from icebrick.workflow.restoring.outcome import RestoreFailure, VolumeRestore, VolumesReport
from icebrick.workflow.restoring.places import Logins, opened_places
from icebrick.workflow.restoring.plan import RestoreSource
from icebrick.workflow.scope import Scope, ScopeKind
from icebrick.workflow.volume_restore import find_snapshots, run_restore

HOST = socket.gethostname()
CHEAP = ScryptParameters(n=2, r=8, p=1)
SETTINGS = VolumeSettings("disk", "the data", {"owner": "anna"}, {"os": "linux"}, bootable=True, read_only=False)


def named(*volume_ids: str) -> Scope:
    return Scope(ScopeKind.VOLUMES, volume_ids)


@dataclass(frozen=True, slots=True)
class World:
    """All of it; the methods are one command each."""

    cloud: FakeCloud
    connector: FakeConnector
    registry: RunRegistry
    backend: MemoryBackend
    repository: Repository
    reader: FileReader = field(default_factory=HostReader)

    @property
    def host(self) -> Host:
        return Host(self.connector, self.registry, timedelta())

    def make_volume(self, content: bytes = b"") -> Volume:
        volume = self.cloud.create_volume(VolumeSpec("disk", 1))
        self.cloud.content(volume.id).write(0, content)
        return self.cloud.apply_settings(volume.id, SETTINGS)

    @contextmanager
    def run(self) -> Iterator[tuple[VolumeAccess, Images]]:
        with volume_run(self.host, self.cloud, self.repository, NO_PROGRESS) as run:
            yield run

    def back_up(
        self,
        *volume_ids: str,
        tags: tuple[str, ...] = (),
        mode: BackupMode = BackupMode.AUTO,
        encrypted: EncryptedVolumes = EncryptedVolumes.AUTO,
        capacity: Capacity | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> BackupReport:
        """With a `capacity` of one job if none is given: one volume after the other."""
        return self.back_up_scope(
            named(*volume_ids), tags=tags, mode=mode, encrypted=encrypted, capacity=capacity, progress=progress
        )

    def back_up_scope(
        self,
        scope: Scope,
        *,
        tags: tuple[str, ...] = (),
        mode: BackupMode = BackupMode.AUTO,
        encrypted: EncryptedVolumes = EncryptedVolumes.AUTO,
        capacity: Capacity | None = None,
        progress: Progress = NO_PROGRESS,
        cold: bool = False,
        recreate_on_error: bool = False,
    ) -> BackupReport:
        capacity = capacity or new_capacity(1, threads=2)
        with (
            cloud_run(
                self.host, self.cloud, cold=cold, recreate_on_error=recreate_on_error, reader=self.reader
            ) as access,
            opened_destination(self.repository, capacity.slots, NO_PROGRESS, lock_wait=timedelta()) as destination,
        ):
            plan = plan_backup(self.cloud, scope, tags=tags, mode=mode, encrypted=encrypted)
            return run_backup(plan, access, OneDestination(destination), capacity, progress)

    def restore(self, volume_id: str, **asked: Any) -> VolumeRestore:
        """One volume, which must succeed and leave nothing; `asked` is of the request."""
        report = self.run_restore(RestoreRequest(named(volume_id), **asked))
        assert (report.failures, report.leftovers) == ((), ())
        (restored,) = report.restores
        return restored

    def failed_restore(self, volume_id: str, **asked: Any) -> RestoreFailure:
        """The same, which must fail."""
        (failure,) = self.run_restore(RestoreRequest(named(volume_id), **asked)).failures
        return failure

    def run_restore(
        self, request: RestoreRequest, *, logins: Logins | None = None, capacity: Capacity | None = None
    ) -> VolumesReport:
        """With a `capacity` of one job if none is given."""
        capacity = capacity or new_capacity(1, threads=2)
        with (
            self.run() as (access, images),
            opened_places(access, partial(project_run, self.host, access), logins or {}) as places,
        ):
            found = find_snapshots(images, request, self.cloud.project().id)
            source = RestoreSource(images, places, request, capacity.slots)
            return run_restore(found, source, access, capacity, NO_PROGRESS)

    def snapshots(self) -> list[Snapshot]:
        return list(self.repository.snapshots())

    def content(self, volume_id: str) -> bytes:
        """The bytes up to the last that was ever written; the rest of a GiB would only take time."""
        device = self.cloud.content(volume_id)
        *_, last = [Extent(0, 0), *device.extents()]
        buffer = bytearray(last.end)
        device.read_into(0, memoryview(buffer))
        return bytes(buffer)

    def resources(self) -> set[str]:
        """Ids of everything there is in the cloud."""
        records = self.cloud.records
        return {*records.volumes, *records.snapshots, *records.attachments, *records.group_snapshots}


@pytest.fixture
def world(tmp_path: Path) -> World:
    cloud = FakeCloud()
    backend = MemoryBackend()
    repository = init_repository(backend, Secret("geheim"), parameters=CHEAP, host=fake_host(FakeTime()))
    return World(cloud, FakeConnector(cloud.records, HOST), RunRegistry(tmp_path / "state", HOST), backend, repository)
