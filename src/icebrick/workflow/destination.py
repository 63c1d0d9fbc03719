"""Where backups go: into one repository, or of each project into its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

from icebrick.parallel import Slots
from icebrick.progress import Progress
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.images import load_images
from icebrick.workflow.naming import BackupMode, volume_path
from icebrick.workflow.saving import Saver, opened_saver
from icebrick.workflow.select import newest_by_mode, with_path
from icebrick.workflow.shared import Shared

if TYPE_CHECKING:
    from icebrick.cloud.base import Volume


@dataclass(frozen=True, slots=True)
class Destination:
    """A repository, open and locked. `snapshots` are those that it had then."""

    saver: Saver
    snapshots: Sequence[Snapshot]


@contextmanager
def opened_destination(
    repository: Repository, slots: Slots, progress: Progress, *, lock_wait: timedelta
) -> Iterator[Destination]:
    """Locked and read, until the block ends. RepositoryLockedError after having waited."""
    with repository.lock(wait=lock_wait):
        images = load_images(repository, progress)
        with opened_saver(repository, images.store, slots) as saver:
            yield Destination(saver, images.snapshots)


class Destinations(Protocol):
    """Which one a volume has. From any thread."""

    def of(self, volume: Volume) -> AbstractContextManager[Destination]:
        """Open for the block, and maybe longer. The error by which it cannot be opened is the volume's failure."""


@dataclass(frozen=True, slots=True)
class OneDestination(Destinations):
    """For all volumes."""

    destination: Destination

    def of(self, volume: Volume) -> AbstractContextManager[Destination]:
        return nullcontext(self.destination)


class ProjectDestinations(Destinations):
    """One for each project: opened for its first volume, closed after its last. `close` when all jobs have ended."""

    def __init__(self, opened: Callable[[str], AbstractContextManager[Destination]], volumes: Iterable[Volume]) -> None:
        users = Counter(volume.project_id for volume in volumes)
        self._shared = {project_id: Shared(partial(opened, project_id), count) for project_id, count in users.items()}

    def of(self, volume: Volume) -> AbstractContextManager[Destination]:
        return self._shared[volume.project_id].used()

    def close(self) -> None:
        for shared in self._shared.values():
            shared.close()


def parents_of(snapshots: Iterable[Snapshot], volume_id: str) -> Mapping[BackupMode, Snapshot]:
    """What the volume is compared with: its newest snapshot of each mode."""
    return newest_by_mode(with_path(snapshots, volume_path(volume_id)))
