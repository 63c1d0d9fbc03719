"""Saving images as snapshots of a repository, several at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from icebrick import __version__
from icebrick.blockdev import BlockSource
from icebrick.engine.block.backup import Baseline, BlockOptions, ImageResult, backup_image
from icebrick.engine.block.image import find_image
from icebrick.errors import CorruptDataError, FileMissingError
from icebrick.parallel import Slots
from icebrick.progress import Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.blobwriter import BlobWriter, WriterStats, open_writer
from icebrick.repository.ids import BlobType
from icebrick.repository.packwriter import PackWriter
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot, SnapshotSummary
from icebrick.repository.timestamp import Timestamp, now
from icebrick.repository.tree import Node, encode_tree
from icebrick.workflow.naming import SnapshotNaming
from icebrick.workflow.record import FILE_NAME
from icebrick.workflow.report import ImageBackup

log = logging.getLogger(__name__)

PROGRAM_VERSION = f"icebrick {__version__}"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What a new snapshot shall be. `moment` is the time that it shows; `record` is the content of volume.json."""

    naming: SnapshotNaming
    moment: Timestamp
    parent: Snapshot | None
    record: bytes | None = None


class ImageSaver:
    """One run's way to new snapshots, under the caller's lock of the repository. Made by `opened_saver`."""

    def __init__(self, repository: Repository, store: BlobStore, packs: PackWriter, slots: Slots) -> None:
        self._repository = repository
        self._store = store
        self._packs = packs
        self._slots = slots

    def save(self, source: BlockSource, spec: ImageSpec, progress: Progress) -> ImageBackup:
        """Back the source up: packs, index and then the snapshot are durable on return. From any thread."""
        started = now()
        with open_writer(self._packs) as writer:
            result = self._back_up(source, writer, spec, progress)
            with self._slots.take():
                tree = _save_tree(writer, result, spec)
        summary = _summary(started, result, writer.stats, changed=spec.parent is not None)
        snapshot = Snapshot(
            time=spec.moment,
            tree=tree,
            paths=(spec.naming.path,),
            hostname=spec.naming.hostname,
            uid=os.getuid(),
            gid=os.getgid(),
            parent=None if spec.parent is None else spec.parent.id,
            tags=spec.naming.tags,
            program_version=PROGRAM_VERSION,
            summary=summary,
        )
        snapshot_id = self._repository.save_snapshot(snapshot)
        log.info("saved snapshot=%s path=%s bytes=%d", snapshot_id, spec.naming.path, result.image.size)
        return _report(spec, snapshot_id, result, summary)

    def _back_up(self, source: BlockSource, writer: BlobWriter, spec: ImageSpec, progress: Progress) -> ImageResult:
        baseline = None
        if spec.parent is not None:
            with self._slots.take():
                baseline = self._baseline(spec.parent)
        options = BlockOptions(slots=self._slots)
        return backup_image(source, writer, spec.moment, baseline=baseline, options=options, progress=progress)

    def _baseline(self, parent: Snapshot) -> Baseline | None:
        """A damaged parent costs time, not the backup: everything is read then, and its blocks are stored anew."""
        try:
            image = find_image(self._store, parent.tree)
        except (CorruptDataError, FileMissingError) as error:
            log.warning("parent=%s not usable, reading everything: %s", parent.id, error)
            return None
        return None if image is None else Baseline(image)


@contextmanager
def opened_saver(repository: Repository, store: BlobStore, slots: Slots) -> Iterator[ImageSaver]:
    """What is saved in the block shares packs and index files; `store` is the repository's."""
    with store.pack_writer() as packs:
        yield ImageSaver(repository, store, packs, slots)


def _save_tree(writer: BlobWriter, result: ImageResult, spec: ImageSpec) -> bytes:
    nodes = list(result.nodes)
    if spec.record is not None:
        nodes.append(
            Node(
                FILE_NAME,
                mode=0o600,
                mtime=spec.moment,
                atime=spec.moment,
                ctime=spec.moment,
                size=len(spec.record),
                links=1,
                content=writer.save(BlobType.DATA, spec.record),
            )
        )
    return writer.save(BlobType.TREE, encode_tree(nodes))


def _summary(started: Timestamp, result: ImageResult, stats: WriterStats, *, changed: bool) -> SnapshotSummary:
    return SnapshotSummary(
        backup_start=started,
        backup_end=now(),
        files_new=0 if changed else 1,
        files_changed=1 if changed else 0,
        data_blobs=stats.data_blobs,
        tree_blobs=stats.tree_blobs,
        data_added=stats.bytes_added,
        data_added_packed=stats.bytes_packed,
        total_files_processed=1,
        total_bytes_processed=result.image.size,
    )


def _report(spec: ImageSpec, snapshot_id: str, result: ImageResult, summary: SnapshotSummary) -> ImageBackup:
    return ImageBackup(
        path=spec.naming.path,
        snapshot_id=snapshot_id,
        parent_id=None if spec.parent is None else spec.parent.id,
        size=result.image.size,
        bytes_read=result.stats.bytes_read,
        bytes_new=summary.data_added,
        bytes_packed=summary.data_added_packed,
        digest=result.image.digest,
        started=summary.backup_start.to_datetime(),
        ended=summary.backup_end.to_datetime(),
    )
