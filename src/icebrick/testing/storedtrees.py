"""Trees of files in small repositories: taken from a folder, or made by hand when no folder could be like that."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file.backup import backup_files
from icebrick.engine.file.hosttree import HostTree
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.engine.file.outcome import FileRestoreStats
from icebrick.engine.file.restore import restore_files
from icebrick.engine.file.select import EVERYTHING, Selection
from icebrick.engine.file.verify import FileVerifyStats, verify_files
from icebrick.filesystem.record import FILE_NAME
from icebrick.parallel import Slots
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import Repository, init_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import MODE_DIR, Node, encode_tree
from icebrick.testing.images import PASSWORD
from icebrick.testing.repositories import CHEAP

_SOME_TIME = Timestamp(1_600_000_000 * 10**9)


@dataclass(frozen=True, slots=True)
class StoredTree:
    """A directory in a repository."""

    root: Node
    store: BlobStore

    def restore(self, target: Path, options: FileRestoreOptions | None = None) -> FileRestoreStats:
        """To a folder, which is made."""
        target.mkdir(exist_ok=True)
        with opened(target) as directory:
            return restore_files(self.root, self.store, directory, options=options, slots=Slots(2))

    def verify(self, target: Path, selection: Selection = EVERYTHING) -> FileVerifyStats:
        with opened(target) as directory:
            return verify_files(self.root, self.store, HostTree(directory), selection=selection, slots=Slots(2))


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """The folder's descriptor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def memory_repository() -> Repository:
    return init_repository(MemoryBackend(), PASSWORD, parameters=CHEAP)


def store_folder(folder: Path, repository: Repository | None = None) -> StoredTree:
    """The folder as a backup has it; AssertionError when something of it could not be stored."""
    store = (repository or memory_repository()).load_index()
    with opened(folder) as directory, store.writer() as writer:
        result = backup_files(HostTree(directory), writer)
    assert result.problems == ()
    return StoredTree(result.node, store)


def save_folder(repository: Repository, folder: Path, second: int = 0, *, path: str = "/cinder/v1") -> str:
    """The id of a snapshot that has the folder as a volume's file system."""
    stored = store_folder(folder, repository)
    with stored.store.writer() as writer:
        beside = Node(FILE_NAME, mode=0o600, content=writer.save(BlobType.DATA, b"{}"), size=2)
        tree = writer.save(BlobType.TREE, encode_tree([stored.root, beside]))
    return repository.save_snapshot(Snapshot(Timestamp(second * 10**9), tree, (path,), "cinder", tags=("mode:files",)))


class TreeMaker:
    """Nodes put together by hand, in a repository in memory."""

    def __init__(self) -> None:
        self._store = memory_repository().load_index()

    def file(self, name: str, *pieces: bytes) -> Node:
        """A file whose blobs are the pieces."""
        content = b"".join(self.save(BlobType.DATA, piece) for piece in pieces)
        size = sum(map(len, pieces))
        return Node(name, mode=0o644, mtime=_SOME_TIME, uid=os.getuid(), gid=os.getgid(), size=size, content=content)

    def directory(self, name: str, nodes: Iterable[Node] = ()) -> Node:
        return self.raw_directory(name, encode_tree(nodes))

    def raw_directory(self, name: str, tree: bytes | bytearray) -> Node:
        """With a tree of any bytes."""
        subtree = self.save(BlobType.TREE, bytes(tree))
        node = Node(name, type="dir", mode=MODE_DIR | 0o755, mtime=_SOME_TIME, subtree=subtree)
        return replace(node, uid=os.getuid(), gid=os.getgid())

    def tree(self, *nodes: Node) -> StoredTree:
        return StoredTree(self.directory("files", nodes), self._store)

    def save(self, blob_type: BlobType, data: bytes) -> bytes:
        """The blob's id."""
        with self._store.writer() as writer:
            return writer.save(blob_type, data)
