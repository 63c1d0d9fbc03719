"""A volume's bytes on this host. All that is made on the way there goes again with the block."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

from icebrick.attach.base import Connector, HostDevice
from icebrick.blockdev import BlockSource, BlockTarget
from icebrick.cloud.base import Cloud, GroupSnapshot, Mode, Volume, VolumeSnapshot, VolumeSpec
from icebrick.cloud.cold import detached
from icebrick.cloud.safety import keep, safety_snapshot
from icebrick.cloud.temporary import (
    AttachingHost,
    Owner,
    attached,
    temporary_clone,
    temporary_group_snapshot,
    temporary_snapshot,
    temporary_volume,
    unfinished_clone,
    unfinished_volume,
)
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.encryption import VolumeKey
from icebrick.errors import UnexpectedStateError
from icebrick.run import Run
from icebrick.workflow.readers import FileReader, HostReader

log = logging.getLogger(__name__)

GIB = 1 << 30
CLONE_RETRIES = 3
"""Of `recreate-vol-on-error`."""


@dataclass(frozen=True, slots=True)
class VolumeAccess:
    """One run's way to volumes. `leftovers` collects what it made in the cloud and could not remove again."""

    cloud: Cloud
    connector: Connector
    properties: ConnectorProperties
    """Of the connector; asked for once, before anything is made."""
    run: Run
    leftovers: list[str] = field(default_factory=list)
    failed: threading.Event = field(default_factory=threading.Event)
    """Something went wrong. Then there may be leftovers unknown to the run, as when an answer was lost."""
    away: list[str] = field(default_factory=list)
    """Which volumes could not be given back to their servers, and how a person does it."""
    cold: bool = False
    """Take volumes from their servers until they are frozen."""
    reader: FileReader = field(default_factory=HostReader)
    """Of file systems."""
    clone_retries: int = 0
    """How often a clone that fails in the storage is made again."""

    @contextmanager
    def frozen(self, volume: Volume) -> Iterator[VolumeSnapshot]:
        """The volume as of now; it itself goes on being used."""
        with self._noting_failure(), ExitStack() as made:
            with self._cold([volume.id]):
                snapshot = made.enter_context(temporary_snapshot(self.cloud, volume.id, self.run, self.leftovers))
            yield snapshot

    @contextmanager
    def frozen_group(self, group_id: str, volume_ids: Sequence[str]) -> Iterator[GroupSnapshot]:
        """All members of the group as of one moment; `volume_ids` are those that go cold."""
        with self._noting_failure(), ExitStack() as made:
            with self._cold(volume_ids):
                taken = made.enter_context(temporary_group_snapshot(self.cloud, group_id, self.run, self.leftovers))
            yield taken

    @contextmanager
    def cloned(self, snapshot: VolumeSnapshot) -> Iterator[Volume]:
        """A volume with what the volume snapshot has, to be attached, spoilt and thrown away."""
        with self._noting_failure(), ExitStack() as made:
            yield self._clone(snapshot, made)

    @property
    def _host(self) -> AttachingHost:
        return AttachingHost(self.properties, self.connector.disconnect)

    @contextmanager
    def device(self, volume: Volume, mode: Mode, *, key: VolumeKey | None = None) -> Iterator[HostDevice]:
        """The volume attached here, for others to open too; with its `key`, what is in it."""

        def open_device(info: ConnectionInfo) -> AbstractContextManager[HostDevice]:
            return self.connector.open_device(info, size=volume.size * GIB, key=key)

        with attached(self.cloud, self._host, volume.id, mode, open_device, self.leftovers) as device:
            yield device

    @contextmanager
    def readable(self, volume: Volume, *, direct: bool = False, key: VolumeKey | None = None) -> Iterator[BlockSource]:
        """The volume attached here, to be read; with `direct`, from the device and not from this host's memory."""

        def open_source(info: ConnectionInfo) -> AbstractContextManager[BlockSource]:
            return self.connector.open_source(info, size=volume.size * GIB, direct=direct, key=key)

        with attached(self.cloud, self._host, volume.id, Mode.READ, open_source, self.leftovers) as source:
            yield source

    @contextmanager
    def writable(self, volume: Volume, *, key: VolumeKey | None = None) -> Iterator[BlockTarget]:
        """The volume attached here, to be written."""

        def open_target(info: ConnectionInfo) -> AbstractContextManager[BlockTarget]:
            return self.connector.open_target(info, size=volume.size * GIB, key=key)

        with attached(self.cloud, self._host, volume.id, Mode.WRITE, open_target, self.leftovers) as target:
            yield target

    def encrypt(self, volume: Volume, key: VolumeKey) -> None:
        """Make the volume an empty one that opens with the key; what it held is lost."""

        @contextmanager
        def encrypted(info: ConnectionInfo) -> Iterator[None]:
            self.connector.encrypt(info, size=volume.size * GIB, key=key)
            yield

        with attached(self.cloud, self._host, volume.id, Mode.WRITE, encrypted, self.leftovers):
            log.info("encrypted run=%s volume=%s", self.run.id, volume.id)

    @contextmanager
    def copied(self, volume: Volume, owner: Owner | None = None) -> Iterator[Volume]:
        """A copy of the volume as of now, that stays when the block ends normally."""
        with (
            self._noting_failure(),
            temporary_snapshot(self.cloud, volume.id, self.run, self.leftovers) as snapshot,
            unfinished_clone(self.cloud, snapshot, volume.name, self.run, self.leftovers, owner=owner) as copy,
        ):
            yield copy

    @contextmanager
    def created(self, spec: VolumeSpec, owner: Owner | None = None) -> Iterator[Volume]:
        """A new, empty volume, that stays when the block ends normally."""
        with self._noting_failure(), unfinished_volume(self.cloud, spec, self.run, self.leftovers, owner=owner) as made:
            yield made

    @contextmanager
    def scratch(self, spec: VolumeSpec) -> Iterator[Volume]:
        """A new, empty volume, to be thrown away."""
        with self._noting_failure(), temporary_volume(self.cloud, spec, self.run, self.leftovers) as volume:
            yield volume

    @contextmanager
    def safeguarded(self, volume: Volume, snapshot_ids: list[str]) -> Iterator[VolumeAccess]:
        """The way to the volume itself, to write to it; what it was stays in a volume snapshot, whatever happens.

        Its id is added to `snapshot_ids`.
        """
        alone = replace(self, leftovers=[])
        try:
            with (
                self._noting_failure(),
                safety_snapshot(self.cloud, volume.id, self.run, alone.leftovers) as safety,
            ):
                keep(self.cloud, safety, self.run)
                snapshot_ids.append(safety.snapshot.id)
                yield alone
        finally:
            self.leftovers.extend(alone.leftovers)

    def _clone(self, snapshot: VolumeSnapshot, made: ExitStack) -> Volume:
        """A clone that goes with `made`; one that failed is gone already."""
        for _ in range(self.clone_retries):
            try:
                return made.enter_context(temporary_clone(self.cloud, snapshot, self.run, self.leftovers))
            except UnexpectedStateError as error:
                self.failed.set()
                log.warning("cloning again snapshot=%s error=%s", snapshot.id, error)
        return made.enter_context(temporary_clone(self.cloud, snapshot, self.run, self.leftovers))

    def _cold(self, volume_ids: Sequence[str]) -> AbstractContextManager[None]:
        """Round what freezes the volumes, and no more: servers are without them for so long."""
        return detached(self.cloud, volume_ids, self.run, self.away) if self.cold else nullcontext()

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.failed.set()
            raise
