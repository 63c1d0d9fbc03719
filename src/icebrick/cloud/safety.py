"""Writing to somebody's volume itself, with a volume snapshot of what it was.

The volume carries no mark of the run: what is marked, a cleanup deletes. Its safety snapshot tells all:

    icebrick-safety                  the run's id; stays for ever
    icebrick-run, icebrick-host      nothing was written yet: if the run dies, the snapshot goes
    icebrick-host alone              something may have been written: the snapshot stays, and the volume may be attached
    neither                          the run has let go of the volume
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from icebrick.cloud.base import Attachment, Cloud, Mode, VolumeSnapshot
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.errors import CloudError, ResourceMissingError, UnexpectedStateError
from icebrick.run import HOST_KEY, RUN_KEY, SAFETY_KEY, Run

_LOG = logging.getLogger(__name__)


class FormerHost(Protocol):
    """Where dead runs were at work: this host."""

    def properties(self) -> ConnectorProperties:
        """What Cinder must know of it; AttachError when that cannot be told."""

    def disconnect(self, info: ConnectionInfo) -> None:
        """Remove what may be left of a connection; nothing left is fine."""


@dataclass(slots=True)
class Safety:
    """What a volume was; `needed` from the moment on at which it may be written."""

    snapshot: VolumeSnapshot
    needed: bool = False


@contextmanager
def safety_snapshot(cloud: Cloud, volume_id: str, run: Run, leftovers: list[str]) -> Iterator[Safety]:
    """Of the volume as it is now; it stays when the block has called `keep`.

    `leftovers` are those of the block alone: with one, the volume may still be attached, which a cleanup looks after.
    """
    metadata = {SAFETY_KEY: run.id, **run.tags}
    safety = Safety(cloud.create_snapshot(volume_id, name=f"{SAFETY_KEY}-{run.id}", metadata=metadata))
    try:
        yield safety
    finally:
        snapshot_id = safety.snapshot.id
        try:
            if not safety.needed:
                cloud.delete_snapshot(snapshot_id)
            elif not leftovers:
                cloud.replace_snapshot_metadata(snapshot_id, {SAFETY_KEY: run.id})
        except CloudError as error:
            _LOG.warning("left behind: volume snapshot=%s error=%s", snapshot_id, error)
            leftovers.append(f"volume snapshot {snapshot_id}: {error}")


def keep(cloud: Cloud, safety: Safety, run: Run) -> None:
    """From now on the volume may be written: whoever dies, the snapshot stays."""
    cloud.replace_snapshot_metadata(safety.snapshot.id, {SAFETY_KEY: run.id, HOST_KEY: run.host})
    safety.needed = True


def writer_of(snapshot: VolumeSnapshot) -> Run | None:
    """The run that writes to the snapshot's volume, or died doing so; None when none does."""
    metadata = snapshot.metadata
    if SAFETY_KEY not in metadata or RUN_KEY in metadata or HOST_KEY not in metadata:
        return None
    return Run(metadata[SAFETY_KEY], metadata[HOST_KEY])


def set_free(cloud: Cloud, host: FormerHost, snapshot: VolumeSnapshot) -> None:
    """Detach the volume from this host, to which a dead run was writing."""
    for attachment in cloud.attachments(snapshot.volume_id):
        if attachment.server_id is None:  # a server's came later, from somebody who uses the volume
            detach(cloud, host, attachment)
    cloud.replace_snapshot_metadata(snapshot.id, {SAFETY_KEY: snapshot.metadata[SAFETY_KEY]})
    _LOG.warning("half restored in place: volume=%s before=volume snapshot %s", snapshot.volume_id, snapshot.id)


def detach(cloud: Cloud, host: FormerHost, attachment: Attachment) -> None:
    """What a dead run has attached to this host, or was about to."""
    if attachment.connection is not None:
        host.disconnect(attachment.connection)
    else:
        _connect_again(cloud, host, attachment)
    cloud.delete_attachment(attachment.id)


def _connect_again(cloud: Cloud, host: FormerHost, attachment: Attachment) -> None:
    """So that Cinder knows of the connection that it may have begun to make.

    With a record that tells of none Cinder takes away the record alone: the driver hears nothing, and what it shows to
    this host, now or in a moment, stays. Cinder connects one volume to one host once at a time: this waits for what the
    dead run has asked for. Connecting what is connected changes nothing.
    """
    try:
        cloud.connect_attachment(attachment.id, host.properties(), Mode.WRITE)  # the mode it was reserved in holds
    except (ResourceMissingError, UnexpectedStateError) as error:  # refused before the driver was asked
        _LOG.warning("not connected again: attachment=%s error=%s", attachment.id, error)
