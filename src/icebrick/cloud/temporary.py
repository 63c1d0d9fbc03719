"""With-blocks for what is made in the cloud and must go again.

Everything made here carries its run's tags from its first moment, so that what a killed process leaves is found
by `leftovers.find_leftovers`; that also covers a Ctrl-C between a request and its return.

Failing to clean up neither hides the error of the block nor spoils its success: it is logged, and told in
`leftovers`, one sentence a resource.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from icebrick.cloud.base import (
    Attachment,
    Cloud,
    Group,
    GroupSnapshot,
    GroupSpec,
    Mode,
    Volume,
    VolumeSnapshot,
    VolumeSpec,
)
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.errors import AttachError, CloudError, CloudUnavailableError, IcebrickError, UnexpectedStateError
from icebrick.run import RUN_KEY, Run

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class Owner:
    """Through whose login an unfinished volume is finished or deleted; to be changed when it is given away."""

    cloud: Cloud


_LONGEST_DESCRIPTION = 255
"""Characters that Cinder takes."""


def name_of(run: Run) -> str:
    """What temporary resources are called, for people who look at the cloud meanwhile."""
    return f"icebrick-{run.id}"


@contextmanager
def temporary_snapshot(cloud: Cloud, volume_id: str, run: Run, leftovers: list[str]) -> Iterator[VolumeSnapshot]:
    """A volume snapshot of the volume as it is now, attached or not."""
    snapshot = cloud.create_snapshot(volume_id, name=name_of(run), metadata=run.tags)
    with _undone(lambda: cloud.delete_snapshot(snapshot.id), f"volume snapshot {snapshot.id}", leftovers):
        yield snapshot


@contextmanager
def temporary_group_snapshot(cloud: Cloud, group_id: str, run: Run, leftovers: list[str]) -> Iterator[GroupSnapshot]:
    """A snapshot of all the group's volumes as they are now, attached or not."""
    taken = cloud.create_group_snapshot(group_id, name=name_of(run), description=run.mark)
    with _undone(lambda: cloud.delete_group_snapshot(taken.id), f"group snapshot {taken.id}", leftovers):
        yield taken


@contextmanager
def temporary_clone(cloud: Cloud, snapshot: VolumeSnapshot, run: Run, leftovers: list[str]) -> Iterator[Volume]:
    """A volume with the snapshot's content."""
    clone = cloud.create_clone(snapshot, name=name_of(run), metadata=run.tags)
    with _undone(lambda: cloud.delete_volume(clone.id), f"volume {clone.id}", leftovers):
        yield clone


@contextmanager
def temporary_volume(cloud: Cloud, spec: VolumeSpec, run: Run, leftovers: list[str]) -> Iterator[Volume]:
    """A new, empty volume."""
    volume = cloud.create_volume(replace(spec, name=name_of(run), metadata={**spec.metadata, **run.tags}))
    with _undone(lambda: cloud.delete_volume(volume.id), f"volume {volume.id}", leftovers):
        yield volume


@contextmanager
def unfinished_volume(
    cloud: Cloud, spec: VolumeSpec, run: Run, leftovers: list[str], *, owner: Owner | None = None
) -> Iterator[Volume]:
    """A new volume that stays when the block ends normally, and goes when it does not.

    Until the end it carries the run's tags, besides `spec.metadata`: if the process dies, it is a leftover.
    A CloudError at the end says that the tags could not be taken off; the volume is complete then.
    """
    tagged = replace(spec, metadata={**spec.metadata, **run.tags})
    with _finished(cloud, cloud.create_volume(tagged), leftovers, owner) as volume:
        yield volume


@contextmanager
def unfinished_clone(
    cloud: Cloud, snapshot: VolumeSnapshot, name: str, run: Run, leftovers: list[str], *, owner: Owner | None = None
) -> Iterator[Volume]:
    """As `unfinished_volume`, but it begins with the snapshot's content."""
    with _finished(cloud, cloud.create_clone(snapshot, name=name, metadata=run.tags), leftovers, owner) as volume:
        yield volume


@contextmanager
def unfinished_group(cloud: Cloud, spec: GroupSpec, run: Run, leftovers: list[str]) -> Iterator[Group]:
    """A new group that stays when the block ends normally, and goes when it does not.

    Until the end its description begins with the run's mark. Its members are made and finished inside the block, so
    that a cleanup can tell: with finished members it is finished too, and loses its mark; without it goes.
    """
    marked = f"{run.mark} {spec.description}"[:_LONGEST_DESCRIPTION]
    group = cloud.create_group(replace(spec, description=marked))
    with ExitStack() as undo:
        undo.callback(_undo, lambda: cloud.delete_group(group.id), f"group {group.id}", leftovers)
        yield group
        undo.pop_all()
    try:
        cloud.update_group(group.id, name=spec.name, description=spec.description)
    except CloudError as error:
        _tell(leftovers, f"mark of group {group.id}", error)


def transfer_volume(cloud: Cloud, volume_id: str, receiver: Cloud, run: Run, leftovers: list[str]) -> Volume:
    """Give an available volume to the receiver's project, tags and all; by an error it stays where it is."""
    offered = cloud.create_transfer(volume_id, name=run.mark)
    with ExitStack() as undo:
        what = f"transfer {offered.id} of volume {volume_id}"
        undo.callback(_undo, lambda: cloud.delete_transfer(offered.id), what, leftovers)
        accepted = receiver.accept_transfer(offered)
        undo.pop_all()
    return accepted


def part_and_delete(cloud: Cloud, volume_id: str) -> None:
    """Delete the volume, also when it is in a group."""
    volume = cloud.find_volume(volume_id)
    if volume is not None:
        if volume.group_id is not None:
            cloud.remove_from_group(volume_id)
        cloud.delete_volume(volume_id)


@dataclass(frozen=True, slots=True)
class AttachingHost:
    """This host: what Cinder is told of it, and how what may be left of a connection is removed from it."""

    properties: ConnectorProperties
    disconnect: Callable[[ConnectionInfo], None]


@contextmanager
def attached(
    cloud: Cloud,
    host: AttachingHost,
    volume_id: str,
    mode: Mode,
    open_device: Callable[[ConnectionInfo], AbstractContextManager[T]],
    leftovers: list[str],
) -> Iterator[T]:
    """What `open_device` makes of the volume's connection on this host, with Cinder told in the right order:

    reserve, connect, open, complete; and close before the attachment goes. `open_device` is the connector's
    `open_source` or `open_target`, with the size. An AttachError while closing, when
    the block has ended normally, is a leftover: what was written is durable since the block's last flush.

    The attachment stays where the device does: it carries no tags, but through its volume, which therefore must be
    one of the run's, a cleanup finds both.
    """
    reserved = _reserved(cloud, volume_id, mode, leftovers)
    connections: list[ConnectionInfo] = []  # of a device that may be left

    def part() -> None:
        for connection in connections:
            host.disconnect(connection)
        cloud.delete_attachment(reserved.id)

    with _undone(part, f"attachment {reserved.id} of volume {volume_id}", leftovers):
        attachment = cloud.connect_attachment(reserved.id, host.properties, mode)
        assert attachment.connection is not None, "connected attachments have a connection"
        connections.append(attachment.connection)
        finished = False
        try:
            with open_device(attachment.connection) as device:
                cloud.complete_attachment(attachment.id)
                yield device
                finished = True
            connections.clear()
        except AttachError as error:
            if not finished:
                raise
            _LOG.warning("not closed at once: device of volume=%s error=%s", volume_id, error)


def _reserved(cloud: Cloud, volume_id: str, mode: Mode, leftovers: list[str]) -> Attachment:
    try:
        return cloud.create_attachment(volume_id, mode)
    except CloudUnavailableError as error:  # it may have been made all the same
        if _may_have_attachments(cloud, volume_id):
            _tell(leftovers, f"attachment of volume {volume_id}", error)
        raise


def _may_have_attachments(cloud: Cloud, volume_id: str) -> bool:
    try:
        return bool(cloud.attachments(volume_id))
    except CloudError:
        return True


def _is_marked(cloud: Cloud, volume_id: str) -> bool:
    """Also when nobody can tell."""
    try:
        return RUN_KEY in cloud.get_volume(volume_id).metadata
    except CloudError:
        return True


@contextmanager
def _finished(cloud: Cloud, volume: Volume, leftovers: list[str], owner: Owner | None) -> Iterator[Volume]:
    owner = owner or Owner(cloud)
    with ExitStack() as undo:
        undo.callback(_undo, lambda: part_and_delete(owner.cloud, volume.id), f"volume {volume.id}", leftovers)
        yield volume
        _refuse_attached(owner.cloud, volume.id)
        undo.pop_all()
    try:
        owner.cloud.untag_volume(volume.id)
    except CloudError as error:
        if not _is_marked(owner.cloud, volume.id):
            return  # only the answer was lost
        # No mere leftover: the next cleanup would take the finished volume for one and delete it.
        hint = f"Remove the metadata key 'icebrick-run' from volume {volume.id} before the next run of icebrick."
        raise CloudError(
            f"volume {volume.id} is complete but still marked as unfinished: {error}", hint=hint
        ) from error


def _refuse_attached(cloud: Cloud, volume_id: str) -> None:
    """Without its tags, nobody would find out that this host could not let go of it."""
    if cloud.attachments(volume_id):
        raise UnexpectedStateError(f"volume {volume_id} is still attached to this host")


@contextmanager
def _undone(delete: Callable[[], None], what: str, leftovers: list[str]) -> Iterator[None]:
    try:
        yield
    finally:
        _undo(delete, what, leftovers)


def _undo(delete: Callable[[], None], what: str, leftovers: list[str]) -> None:
    try:
        delete()
    except (CloudError, AttachError) as error:
        _tell(leftovers, what, error)


def _tell(leftovers: list[str], what: str, error: IcebrickError) -> None:
    _LOG.warning("left behind: %s error=%s", what, error)
    leftovers.append(f"{what}: {error}")
