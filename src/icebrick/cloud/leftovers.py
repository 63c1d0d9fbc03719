"""What dead runs left in the cloud: found by tag, and removed in the order that Cinder allows.

Only what carries a run's tag is ever touched. A backup's source volume carries none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from icebrick.cloud.base import Cloud, Volume, VolumeSnapshot
from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError, CloudError, UnexpectedStateError
from icebrick.run import HOST_KEY, RUN_KEY

_LOG = logging.getLogger(__name__)

IsAlive = Callable[[str, str], bool]
"""Whether the run of this id, on this host, may still be at work. When in doubt: True."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Resources whose run is dead."""

    volumes: tuple[Volume, ...] = ()
    snapshots: tuple[VolumeSnapshot, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.volumes or self.snapshots)

    @property
    def runs(self) -> tuple[str, ...]:
        """Their ids, sorted."""
        tags = [volume.metadata for volume in self.volumes] + [snapshot.metadata for snapshot in self.snapshots]
        return tuple(sorted({metadata[RUN_KEY] for metadata in tags}))


@dataclass(frozen=True, slots=True)
class Kept:
    """What could not be removed, and why."""

    what: str
    """Kind and id, as "volume 1f2e..."."""
    reason: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of leftovers."""

    removed: tuple[str, ...] = ()
    """Kind and id, as "volume 1f2e..."."""
    kept: tuple[Kept, ...] = ()


def find_leftovers(cloud: Cloud, is_alive: IsAlive) -> Leftovers:
    """Tagged volumes and volume snapshots of the project whose runs are not alive."""

    def dead(metadata: Mapping[str, str]) -> bool:
        return RUN_KEY in metadata and not is_alive(metadata[RUN_KEY], metadata.get(HOST_KEY, ""))

    return Leftovers(
        tuple(volume for volume in cloud.volumes() if dead(volume.metadata)),
        tuple(snapshot for snapshot in cloud.snapshots() if dead(snapshot.metadata)),
    )


def remove_leftovers(cloud: Cloud, disconnect: Callable[[ConnectionInfo], None], leftovers: Leftovers) -> Removal:
    """Remove them, volumes before the volume snapshots they may have been made from; a failure does not stop the rest.

    `disconnect` removes a connection from this host, and is content with one that is not there.
    """
    removed: list[str] = []
    kept: list[Kept] = []
    for volume in leftovers.volumes:
        with _noted(f"volume {volume.id}", removed, kept):
            _remove_volume(cloud, disconnect, volume)
    for snapshot in leftovers.snapshots:
        with _noted(f"volume snapshot {snapshot.id}", removed, kept):
            cloud.delete_snapshot(snapshot.id)
    return Removal(tuple(removed), tuple(kept))


def _remove_volume(cloud: Cloud, disconnect: Callable[[ConnectionInfo], None], volume: Volume) -> None:
    for attachment in cloud.attachments(volume.id):
        if attachment.server_id is not None:
            raise UnexpectedStateError(
                f"volume {volume.id} is attached to server {attachment.server_id}",
                hint="Somebody uses it. Detach it, or take the metadata key 'icebrick-run' off to keep it.",
            )
        if attachment.connection is not None:
            disconnect(attachment.connection)
        cloud.delete_attachment(attachment.id)
    cloud.delete_volume(volume.id)


@contextmanager
def _noted(what: str, removed: list[str], kept: list[Kept]) -> Iterator[None]:
    try:
        yield
    except (CloudError, AttachError) as error:
        _LOG.warning("cannot remove leftover %s error=%s", what, error)
        kept.append(Kept(what, str(error), error.hint))
    else:
        _LOG.info("removed leftover %s", what)
        removed.append(what)
