"""Saving images and files as snapshots of a repository, several at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from icebrick import __version__
from icebrick.blockdev import BlockSource
from icebrick.engine.block.backup import Baseline, BlockOptions, backup_image
from icebrick.engine.block.image import find_image
from icebrick.engine.file.backup import FilesResult, backup_files
from icebrick.engine.file.base import FileTree, Problem
from icebrick.engine.file.parent import FilesBaseline
from icebrick.errors import CorruptDataError, FileMissingError
from icebrick.filesystem import record as filesystem_record
from icebrick.filesystem.base import FileSystem
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
from icebrick.workflow import record as volume_record
from icebrick.workflow.naming import BackupMode, SnapshotNaming
from icebrick.workflow.record import VolumeRecord
from icebrick.workflow.report import SavedSnapshot
from icebrick.workflow.restore_files import find_files

log = logging.getLogger(__name__)

UNSETTLED_NS = 60 * 10**9
"""Files changed so shortly before the parent's time are read again: long enough for clocks that are not quite right."""
PROGRAM_VERSION = f"icebrick {__version__}"


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    """What a new snapshot shall be. `moment` is the time that it shows; `record` becomes volume.json.

    `parents` are what it is compared with, whichever mode it will be of.
    """

    naming: SnapshotNaming
    moment: Timestamp
    parents: Mapping[BackupMode, Snapshot] = field(default_factory=dict)
    record: VolumeRecord | None = None

    def of_size(self, size: int) -> SnapshotSpec:
        """With the bytes that were read of an encrypted volume in its record."""
        if self.record is None or self.record.encryption is None:
            return self
        return replace(self, record=replace(self.record, encryption=replace(self.record.encryption, size=size)))


@dataclass(frozen=True, slots=True)
class _Content:
    """What has been handed to the writer; `nodes` belong into the snapshot's root. Sizes in bytes."""

    nodes: tuple[Node, ...]
    size: int
    bytes_read: int
    digest: str
    counts: Mapping[str, int]
    """Of files and directories, named as in SnapshotSummary."""
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0


class Saver:
    """One run's way to new snapshots, under the caller's lock of the repository. Made by `opened_saver`.

    Of what its methods save, packs, index and then the snapshot are durable on return. They may be called from any
    thread.
    """

    def __init__(self, repository: Repository, store: BlobStore, packs: PackWriter, slots: Slots) -> None:
        self._repository = repository
        self._store = store
        self._packs = packs
        self._slots = slots

    def save_image(self, source: BlockSource, spec: SnapshotSpec, progress: Progress) -> SavedSnapshot:
        """Back all blocks of the source up."""

        def back_up(writer: BlobWriter, parent: Snapshot | None) -> _Content:
            baseline = None
            if parent is not None:
                with self._slots.take():
                    baseline = self._baseline(parent)
            options = BlockOptions(slots=self._slots)
            result = backup_image(source, writer, spec.moment, baseline=baseline, options=options, progress=progress)
            counts = {"files_changed" if parent else "files_new": 1}
            image = result.image
            return _Content(tuple(result.nodes), image.size, result.stats.bytes_read, image.digest, counts)

        return self._save(spec.of_size(source.size), BackupMode.BLOCKS, back_up)

    def save_files(
        self, tree: FileTree, file_system: FileSystem, spec: SnapshotSpec, progress: Progress
    ) -> SavedSnapshot:
        """Back all files of the tree up, and what is needed to make the file system again."""

        def back_up(writer: BlobWriter, parent: Snapshot | None) -> _Content:
            baseline = None if parent is None else self._files_baseline(parent)
            result = backup_files(tree, writer, baseline=baseline, slots=self._slots, progress=progress)
            with self._slots.take():
                about = filesystem_record.encode_record(file_system)
                node = _file_node(filesystem_record.FILE_NAME, about, writer, spec.moment)
            return _files_content(result, node)

        return self._save(spec.of_size(file_system.size), BackupMode.FILES, back_up)

    def _save(
        self, spec: SnapshotSpec, mode: BackupMode, back_up: Callable[[BlobWriter, Snapshot | None], _Content]
    ) -> SavedSnapshot:
        started = now()
        parent = spec.parents.get(mode)
        with open_writer(self._packs) as writer:
            content = back_up(writer, parent)
            with self._slots.take():
                tree = _save_tree(writer, content, spec)
        summary = _summary(started, content, writer.stats)
        naming = spec.naming.of_mode(mode)
        snapshot = Snapshot(
            time=spec.moment,
            tree=tree,
            paths=(naming.path,),
            hostname=naming.hostname,
            uid=os.getuid(),
            gid=os.getgid(),
            parent=None if parent is None else parent.id,
            tags=naming.tags,
            program_version=PROGRAM_VERSION,
            summary=summary,
        )
        saved = replace(snapshot, id=self._repository.save_snapshot(snapshot))
        log.info("saved snapshot=%s path=%s mode=%s bytes=%d", saved.id, naming.path, mode.value, content.size)
        return _report(saved, mode, content, summary)

    def _baseline(self, parent: Snapshot) -> Baseline | None:
        """A damaged parent costs time, not the backup: everything is read then, and its blocks are stored anew."""
        try:
            image = find_image(self._store, parent.tree)
        except (CorruptDataError, FileMissingError) as error:
            _warn_of_parent(parent, error)
            return None
        return None if image is None else Baseline(image)

    def _files_baseline(self, parent: Snapshot) -> FilesBaseline | None:
        """The same of files."""
        try:
            root = find_files(self._store, parent).root
        except (CorruptDataError, FileMissingError) as error:
            _warn_of_parent(parent, error)
            return None
        if root is None or root.subtree is None:
            return None
        return FilesBaseline(self._store, root.subtree, parent.time.ns - UNSETTLED_NS)


@contextmanager
def opened_saver(repository: Repository, store: BlobStore, slots: Slots) -> Iterator[Saver]:
    """What is saved in the block shares packs and index files; `store` is the repository's."""
    with store.pack_writer() as packs:
        yield Saver(repository, store, packs, slots)


def _warn_of_parent(parent: Snapshot, error: Exception) -> None:
    log.warning("parent=%s not usable, reading everything: %s", parent.id, error)


def _files_content(result: FilesResult, about: Node) -> _Content:
    stats = result.stats
    return _Content(
        nodes=(result.node, about),
        size=stats.bytes_total,
        bytes_read=stats.bytes_read,
        digest="" if result.node.subtree is None else result.node.subtree.hex(),
        counts={
            "files_new": stats.files_new,
            "files_changed": stats.files_changed,
            "files_unmodified": stats.files_unmodified,
            "dirs_new": stats.dirs_new,
            "dirs_changed": stats.dirs_changed,
            "dirs_unmodified": stats.dirs_unmodified,
        },
        problems=result.problems,
        problem_count=result.problem_count,
    )


def _save_tree(writer: BlobWriter, content: _Content, spec: SnapshotSpec) -> bytes:
    nodes = list(content.nodes)
    if spec.record is not None:
        encoded = volume_record.encode_record(spec.record)
        nodes.append(_file_node(volume_record.FILE_NAME, encoded, writer, spec.moment))
    return writer.save(BlobType.TREE, encode_tree(nodes))


def _file_node(name: str, data: bytes, writer: BlobWriter, moment: Timestamp) -> Node:
    return Node(
        name,
        mode=0o600,
        mtime=moment,
        atime=moment,
        ctime=moment,
        size=len(data),
        links=1,
        content=writer.save(BlobType.DATA, data),
    )


def _summary(started: Timestamp, content: _Content, stats: WriterStats) -> SnapshotSummary:
    return SnapshotSummary(
        backup_start=started,
        backup_end=now(),
        data_blobs=stats.data_blobs,
        tree_blobs=stats.tree_blobs,
        data_added=stats.bytes_added,
        data_added_packed=stats.bytes_packed,
        total_files_processed=sum(count for name, count in content.counts.items() if name.startswith("files")),
        total_bytes_processed=content.size,
        **content.counts,
    )


def _report(snapshot: Snapshot, mode: BackupMode, content: _Content, summary: SnapshotSummary) -> SavedSnapshot:
    return SavedSnapshot(
        path=snapshot.paths[0],
        snapshot_id=snapshot.id or "",
        parent_id=snapshot.parent,
        mode=mode,
        size=content.size,
        bytes_read=content.bytes_read,
        bytes_new=summary.data_added,
        bytes_packed=summary.data_added_packed,
        digest=content.digest,
        started=summary.backup_start.to_datetime(),
        ended=summary.backup_end.to_datetime(),
        problems=content.problems,
        problem_count=content.problem_count,
    )
