"""Snapshots from one repository into another: which are there already, and what has been copied."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from icebrick.errors import CorruptDataError, UsageError
from icebrick.progress import Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.blobwriter import open_writer
from icebrick.repository.copytrees import TreeCopy
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Present:
    """A snapshot that is in the target already, and its id there."""

    snapshot: Snapshot
    target_id: str


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What is to be copied, oldest first, and what need not be."""

    wanted: tuple[Snapshot, ...]
    present: tuple[Present, ...]


@dataclass(frozen=True, slots=True)
class CopiedSnapshot:
    """One that was copied; `bytes_new` are those of its data and trees that the target had not, before compression."""

    source_id: str
    target_id: str
    bytes_new: int
    bytes_packed: int


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """One that the source cannot give in full. Nothing of it counts in the target."""

    source_id: str
    message: str


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What has become of those that were wanted."""

    copied: tuple[CopiedSnapshot, ...]
    failures: tuple[CopyFailure, ...]


def plan_copy(chosen: Iterable[Snapshot], in_target: Iterable[Snapshot]) -> CopyPlan:
    """A snapshot is there already when one like it has the same original; so restic has it, too."""
    known = {(_original(snapshot), _likeness(snapshot)): snapshot.id or "" for snapshot in in_target}
    wanted: list[Snapshot] = []
    present: list[Present] = []
    for snapshot in chosen:
        target_id = known.get((_original(snapshot), _likeness(snapshot)))
        if target_id is None:
            wanted.append(snapshot)
        else:
            present.append(Present(snapshot, target_id))
    return CopyPlan(tuple(wanted), tuple(present))


def check_apart(source: Repository, target: Repository) -> None:
    """UsageError when they are one."""
    if source.id == target.id:
        raise UsageError(
            f"{source.backend.location} and {target.backend.location} are the same repository",
            hint="Copy into another one; 'icebrick init' creates it.",
        )


def run_copy(
    snapshots: Sequence[Snapshot], source: BlobStore, target: Repository, there: BlobStore, progress: Progress
) -> CopyReport:
    """Copy them, with locks of both held. `there` is the target's index.

    Each is saved when all it needs is durable. What is damaged in the source fails its snapshots, and no others.
    """
    copied: list[CopiedSnapshot] = []
    failures: list[CopyFailure] = []
    with progress.task("copy", unit="B") as task, there.pack_writer() as packs:
        trees = TreeCopy(source, task)
        for snapshot in snapshots:
            source_id = snapshot.id or ""
            try:
                with open_writer(packs) as writer:
                    trees.copy(snapshot.tree, writer)
            except CorruptDataError as error:
                log.warning("snapshot=%s not copied: %s", source_id, error)
                failures.append(CopyFailure(source_id, str(error)))
                continue
            # the parent's id is one of the source
            target_id = target.save_snapshot(replace(snapshot, id=None, parent=None, original=_original(snapshot)))
            copied.append(CopiedSnapshot(source_id, target_id, writer.stats.bytes_added, writer.stats.bytes_packed))
            log.info("snapshot=%s copied as=%s bytes=%d", source_id, target_id, writer.stats.bytes_added)
    return CopyReport(tuple(copied), tuple(failures))


def _original(snapshot: Snapshot) -> str:
    return snapshot.original or snapshot.id or ""


def _likeness(snapshot: Snapshot) -> Snapshot:
    """What must be the same of two snapshots for one to be a copy of the other."""
    return Snapshot(
        time=snapshot.time,
        tree=snapshot.tree,
        paths=tuple(sorted(snapshot.paths)),
        hostname=snapshot.hostname,
        username=snapshot.username,
        uid=snapshot.uid,
        gid=snapshot.gid,
        excludes=tuple(sorted(snapshot.excludes)),
        tags=tuple(sorted(snapshot.tags)),
    )
