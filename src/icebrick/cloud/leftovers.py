"""What dead runs left in the cloud: found by tag, and removed in the order that Cinder allows.

Only what carries a run's tag or mark is ever touched. A backup's source volume carries none. An administrator finds
it in all projects: what a run of an administrator made is the administrator's, what it restored another project's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from icebrick.cloud.base import Cloud, Group, GroupSnapshot, Transfer, Volume, VolumeSnapshot
from icebrick.cloud.cold import ColdNote, find_detached, give_back
from icebrick.cloud.safety import FormerHost, detach, set_free, writer_of
from icebrick.cloud.temporary import part_and_delete
from icebrick.errors import AttachError, CloudError, UnexpectedStateError, UsageError
from icebrick.run import HOST_KEY, RUN_KEY, Run, find_mark

_LOG = logging.getLogger(__name__)

IsAlive = Callable[[str, str], bool]
"""Whether the run of this id, on this host, may still be at work. When in doubt: True."""


Marked = Volume | VolumeSnapshot | GroupSnapshot | Group | Transfer
M = TypeVar("M", Volume, VolumeSnapshot, GroupSnapshot, Group, Transfer)

_KINDS: dict[type[Marked], str] = {
    Volume: "volume",
    VolumeSnapshot: "volume snapshot",
    GroupSnapshot: "group snapshot",
    Group: "group",
    Transfer: "transfer",
}


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Resources whose run is dead."""

    volumes: tuple[Volume, ...] = ()
    snapshots: tuple[VolumeSnapshot, ...] = ()
    group_snapshots: tuple[GroupSnapshot, ...] = ()
    groups: tuple[Group, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    detached: tuple[ColdNote, ...] = ()
    """Nothing to remove, but to give back to its servers."""
    written: tuple[VolumeSnapshot, ...] = ()
    """Safety snapshots of volumes that were being written: they stay, and the volumes are set free."""

    def __bool__(self) -> bool:
        return bool(self.made or self.detached or self.written)

    @property
    def made(self) -> tuple[Marked, ...]:
        """All that is to be removed, each before what it hangs on."""
        return (*self.transfers, *self.volumes, *self.group_snapshots, *self.snapshots, *self.groups)

    @property
    def runs(self) -> tuple[str, ...]:
        """Their ids, sorted."""
        makers = [*map(run_of, self.made), *(note.run for note in self.detached), *map(writer_of, self.written)]
        return tuple(sorted({run.id for run in makers if run is not None}))


def run_of(resource: Marked) -> Run | None:
    """The run that made it and has not finished it; None when it is nobody's leftover."""
    match resource:
        case Volume() | VolumeSnapshot():
            run_id = resource.metadata.get(RUN_KEY)
            return Run(run_id, resource.metadata.get(HOST_KEY, "")) if run_id is not None else None
        case Group() | GroupSnapshot():
            marked = find_mark(resource.description)
        case Transfer():
            marked = find_mark(resource.name)
    return marked[0] if marked else None


def kind_and_id(resource: Marked) -> str:
    """As "volume 1f2e..."."""
    return f"{_KINDS[type(resource)]} {resource.id}"


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
    given_back: tuple[str, ...] = ()
    """As "volume 1f2e... to server 3a4b..."."""


def find_leftovers(cloud: Cloud, is_alive: IsAlive) -> Leftovers:
    """What is tagged in the project, for an administrator in all projects, and whose runs are not alive."""

    def dead(resources: Iterable[M]) -> tuple[M, ...]:
        makers = ((resource, run_of(resource)) for resource in resources)
        return tuple(resource for resource, run in makers if run is not None and not is_alive(run.id, run.host))

    everywhere = cloud.is_admin()
    volumes = cloud.all_volumes() if everywhere else cloud.volumes()
    snapshots = cloud.all_snapshots() if everywhere else cloud.snapshots()
    unfinished = {volume.id for volume in volumes if run_of(volume) is not None}
    transfers = cloud.all_transfers() if everywhere else cloud.transfers()
    writers = ((snapshot, writer_of(snapshot)) for snapshot in snapshots)
    return Leftovers(
        volumes=dead(volumes),
        snapshots=dead(snapshots),
        group_snapshots=dead(cloud.all_group_snapshots() if everywhere else cloud.group_snapshots()),
        groups=dead(cloud.all_groups() if everywhere else cloud.groups()),
        # The offer of a finished volume is what was asked for: somebody may take it at any time.
        transfers=dead(transfer for transfer in transfers if transfer.volume_id in unfinished),
        detached=find_detached(volumes, is_alive, datetime.now(UTC)),
        written=tuple(snapshot for snapshot, run in writers if run is not None and not is_alive(run.id, run.host)),
    )


def remove_leftovers(cloud: Cloud, host: FormerHost, leftovers: Leftovers) -> Removal:
    """Remove them, each before what it hangs on; a failure does not stop the rest."""
    removed: list[str] = []
    kept: list[Kept] = []
    given_back = list(_give_back(cloud, leftovers.detached, kept))  # first: somebody's server is without its volume
    for transfer in leftovers.transfers:
        with _noted(kind_and_id(transfer), removed, kept):
            cloud.delete_transfer(transfer.id)
    for volume in leftovers.volumes:
        with _noted(kind_and_id(volume), removed, kept):
            _remove_volume(cloud, host, volume)
    for taken in leftovers.group_snapshots:
        with _noted(kind_and_id(taken), removed, kept):
            _delete(cloud, taken.id, cloud.delete_group_snapshot, cloud.force_delete_group_snapshot)
    for snapshot in leftovers.snapshots:
        with _noted(kind_and_id(snapshot), removed, kept):
            _delete(cloud, snapshot.id, cloud.delete_snapshot, cloud.force_delete_snapshot)
    for safety in leftovers.written:
        with _noted(f"attachments of volume {safety.volume_id}", removed, kept):
            set_free(cloud, host, safety)
    unfinished = frozenset(volume.id for volume in leftovers.volumes)
    for group in leftovers.groups:
        _clear_group(cloud, group, unfinished, removed, kept)
    return Removal(tuple(removed), tuple(kept), tuple(given_back))


def _give_back(cloud: Cloud, notes: Iterable[ColdNote], kept: list[Kept]) -> Iterator[str]:
    for note in notes:
        try:
            give_back(cloud, cloud.servers(), note)
        except (CloudError, UsageError) as error:
            _LOG.error("cannot give back %s error=%s", note, error)
            what = f"note of volume {note.attachment.volume_id} for server {note.attachment.server_id}"
            kept.append(Kept(what, str(error), note.hint))
        else:
            yield str(note)


def _remove_volume(cloud: Cloud, host: FormerHost, volume: Volume) -> None:
    for attachment in cloud.attachments(volume.id):
        if attachment.server_id is not None:
            raise UnexpectedStateError(
                f"volume {volume.id} is attached to server {attachment.server_id}",
                hint="Somebody uses it. Detach it, or take the metadata key 'icebrick-run' off to keep it.",
            )
        detach(cloud, host, attachment)
    _delete(cloud, volume.id, lambda volume_id: part_and_delete(cloud, volume_id), cloud.force_delete_volume)


def _clear_group(cloud: Cloud, group: Group, unfinished: frozenset[str], removed: list[str], kept: list[Kept]) -> None:
    """Delete it; but where its members are finished, the run died before it could take the mark off, and it stays."""
    members = frozenset(group.volume_ids)
    if members - unfinished:
        with _noted(f"mark of group {group.id}", removed, kept):
            _, description = find_mark(group.description) or (None, "")
            cloud.update_group(group.id, name=group.name, description=description)
    else:
        with _noted(kind_and_id(group), removed, kept):
            _delete(cloud, group.id, cloud.delete_group, cloud.force_delete_group)


def _delete(cloud: Cloud, resource_id: str, delete: Callable[[str], None], force: Callable[[str], None]) -> None:
    """By force, where an administrator meets what is stuck: it was waited for, and its run is dead."""
    try:
        delete(resource_id)
    except UnexpectedStateError as error:
        if not cloud.is_admin():
            raise
        _LOG.warning("deleting by force id=%s error=%s", resource_id, error)
        force(resource_id)


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
