"""Images in a repository: saved as snapshots, found again in them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace

from icebrick import __version__
from icebrick.blockdev import BlockSource
from icebrick.document import MAX_BYTES
from icebrick.engine.block.backup import Baseline, ImageResult, backup_image
from icebrick.engine.block.image import StoredImage, find_image
from icebrick.errors import CorruptDataError, FileMissingError, RepositoryError
from icebrick.progress import Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.blobwriter import BlobWriter, WriterStats
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot, SnapshotSummary
from icebrick.repository.timestamp import Timestamp, now
from icebrick.repository.tree import Node, decode_tree, encode_tree
from icebrick.workflow.naming import SnapshotNaming
from icebrick.workflow.record import FILE_NAME, VolumeRecord, decode_record
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


class Images:
    """The images of one repository, under the caller's lock of it. Made by `load_images`."""

    def __init__(self, repository: Repository, snapshots: list[Snapshot], store: BlobStore, progress: Progress) -> None:
        self.snapshots = snapshots
        self.store = store
        self._repository = repository
        self._progress = progress

    def save(self, source: BlockSource, spec: ImageSpec) -> ImageBackup:
        """Back the source up: packs, index and then the snapshot are durable on return."""
        started = now()
        with self.store.writer() as writer:
            result = self._back_up(source, writer, spec)
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
        self.snapshots.append(replace(snapshot, id=snapshot_id))
        return _report(spec, snapshot_id, result, summary)

    def _back_up(self, source: BlockSource, writer: BlobWriter, spec: ImageSpec) -> ImageResult:
        baseline = None if spec.parent is None else self._baseline(spec.parent)
        return backup_image(source, writer, spec.moment, baseline=baseline, progress=self._progress)

    def find(self, snapshot: Snapshot) -> StoredImage:
        """RepositoryError when the snapshot holds no image, CorruptDataError when it is damaged."""
        image = find_image(self.store, snapshot.tree)
        if image is None:
            raise RepositoryError(
                f"snapshot {snapshot.id} holds no image of a volume",
                hint="Snapshots made by restic itself are restored with 'restic restore'.",
            )
        return image

    def record(self, snapshot: Snapshot) -> VolumeRecord:
        """What volume.json says; RepositoryError when there is none, CorruptDataError when it is damaged."""
        where = f"{FILE_NAME} of snapshot {snapshot.id}"
        nodes = decode_tree(self.store.load(BlobType.TREE, snapshot.tree))
        node = next((node for node in nodes if node.name == FILE_NAME and node.type == "file"), None)
        if node is None:
            raise RepositoryError(f"there is no {where}")
        ids = [node.content[start : start + ID_SIZE] for start in range(0, len(node.content), ID_SIZE)]
        if sum(self.store.size(BlobType.DATA, blob_id) for blob_id in ids) > MAX_BYTES:
            raise CorruptDataError(f"{where} has more than {MAX_BYTES} bytes")
        return decode_record(b"".join(self.store.load(BlobType.DATA, blob_id) for blob_id in ids), where)

    def _baseline(self, parent: Snapshot) -> Baseline | None:
        """A damaged parent costs time, not the backup: everything is read then, and its blocks are stored anew."""
        try:
            image = find_image(self.store, parent.tree)
        except (CorruptDataError, FileMissingError) as error:
            log.warning("parent=%s not usable, reading everything: %s", parent.id, error)
            return None
        return None if image is None else Baseline(image)


def load_images(repository: Repository, progress: Progress) -> Images:
    """Read the list of snapshots, and then the index: what a snapshot names is in an index listed after it."""
    snapshots = list(repository.snapshots())
    return Images(repository, snapshots, repository.load_index(progress), progress)


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
