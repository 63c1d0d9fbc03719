"""Images in a repository: found in its snapshots."""

from __future__ import annotations

from icebrick.document import MAX_BYTES
from icebrick.engine.block.image import StoredImage, find_image
from icebrick.errors import CorruptDataError, RepositoryError
from icebrick.filesystem import record as filesystem_record
from icebrick.filesystem.base import FileSystem
from icebrick.progress import Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.tree import decode_tree
from icebrick.workflow.record import FILE_NAME, VolumeRecord, decode_record


class Images:
    """The images of one repository, under the caller's lock of it. Made by `load_images`, used from any thread."""

    def __init__(self, snapshots: list[Snapshot], store: BlobStore, repository_id: str) -> None:
        self.repository_id = repository_id
        self.snapshots = snapshots
        self.store = store

    def find(self, snapshot: Snapshot) -> StoredImage:
        """RepositoryError when the snapshot holds no image, CorruptDataError when it is damaged."""
        image = find_image(self.store, snapshot.tree)
        if image is None:
            raise RepositoryError(
                f"snapshot {snapshot.id} holds no image of a volume",
                hint="What it holds can be restored to a directory of this host: --target DIRECTORY.",
            )
        return image

    def record(self, snapshot: Snapshot) -> VolumeRecord:
        """What volume.json says; RepositoryError when there is none, CorruptDataError when it is damaged."""
        where = f"{FILE_NAME} of snapshot {snapshot.id}"
        return decode_record(self._load(snapshot, FILE_NAME, where), where)

    def file_system(self, snapshot: Snapshot) -> FileSystem:
        """What filesystem.json says; the same errors."""
        where = f"{filesystem_record.FILE_NAME} of snapshot {snapshot.id}"
        return filesystem_record.decode_record(self._load(snapshot, filesystem_record.FILE_NAME, where), where)

    def _load(self, snapshot: Snapshot, name: str, where: str) -> bytes:
        nodes = decode_tree(self.store.load(BlobType.TREE, snapshot.tree))
        node = next((node for node in nodes if node.name == name and node.type == "file"), None)
        if node is None:
            raise RepositoryError(f"there is no {where}")
        ids = [node.content[start : start + ID_SIZE] for start in range(0, len(node.content), ID_SIZE)]
        if sum(self.store.size(BlobType.DATA, blob_id) for blob_id in ids) > MAX_BYTES:
            raise CorruptDataError(f"{where} has more than {MAX_BYTES} bytes")
        return b"".join(self.store.load(BlobType.DATA, blob_id) for blob_id in ids)


def load_images(repository: Repository, progress: Progress) -> Images:
    """Read the list of snapshots, and then the index: what a snapshot names is in an index listed after it."""
    snapshots = list(repository.snapshots())
    return Images(snapshots, repository.load_index(progress), repository.id)
