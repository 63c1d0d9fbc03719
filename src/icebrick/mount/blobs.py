"""The blobs of a repository that others go on writing to, for many small reads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from icebrick.errors import BackendError, RepositoryError
from icebrick.mount.cache import Cache
from icebrick.parallel import Workers
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.tree import Node, decode_tree

log = logging.getLogger(__name__)

MEMORY = 64 << 20
"""For blobs of files; as much again for directories."""
_NODE = 2 << 10  # about what a node takes in memory, besides its content
_AHEAD = 2

Directory = dict[str, Node]
"""The entries of a directory by their names, in their order."""


class Blobs:
    """Every method may be called from any thread. `load_index` is called anew when something cannot be found."""

    def __init__(self, load_index: Callable[[], BlobStore], *, memory: int = MEMORY) -> None:
        self._load_index = load_index
        self._store = load_index()
        self._data: Cache[bytes, bytes] = Cache(memory, len)
        self._directories: Cache[bytes, Directory] = Cache(memory, _weight)
        self._reloading = threading.Lock()  # guards the replacing of _store
        self._is_old = False
        self._ahead: Callable[[bytes], None] | None = None
        self._coming = threading.Semaphore(_AHEAD)

    def expect_new(self) -> None:
        """There may be blobs now that the index in memory does not know."""
        self._is_old = True

    def data(self, blob_id: bytes) -> bytes:
        """A data blob, proven; CorruptDataError, BackendError."""
        return self._data.get(blob_id, lambda: self._load(BlobType.DATA, blob_id))

    def directory(self, tree: bytes) -> Directory:
        """CorruptDataError, BackendError."""
        return self._directories.get(tree, lambda: _decoded(self._load(BlobType.TREE, tree)))

    def ends(self, content: bytes) -> npt.NDArray[np.int64]:
        """Where each blob of a file's content ends in the file; CorruptDataError when one is missing."""
        sizes = self._store_with(BlobType.DATA, content).places(content).sizes
        return np.cumsum(sizes)

    @contextmanager
    def reading_ahead(self) -> Iterator[None]:
        """For as long as the block lasts, `soon` has an effect."""

        def load(blob_id: bytes) -> None:
            try:
                self.data(blob_id)
            except (RepositoryError, BackendError) as error:
                log.debug("not read ahead: %s", error)  # whoever needs it is told
            finally:
                self._coming.release()

        with Workers(load, threads=1, depth=_AHEAD, name="read-ahead") as workers:
            self._ahead = workers.put
            try:
                yield
            finally:
                self._ahead = None

    def soon(self, blob_id: bytes) -> None:
        """It will probably be asked for; at once returned, and forgotten when much is on its way already."""
        ahead = self._ahead
        if ahead is not None and not self._data.has(blob_id) and self._coming.acquire(blocking=False):
            ahead(blob_id)

    def _load(self, blob_type: BlobType, blob_id: bytes) -> bytes:
        return self._store_with(blob_type, blob_id).load(blob_type, blob_id)

    def _store_with(self, blob_type: BlobType, ids: bytes) -> BlobStore:
        """One that has these blobs, if any has: only then it is worth reading the whole index anew."""
        store = self._store
        if not self._is_old or store.has_all(blob_type, ids):
            return store
        with self._reloading:
            if self._is_old:
                self._is_old = False  # first: what is expected from now on may not be in what is read now
                try:
                    self._store = self._load_index()
                except BaseException:
                    self._is_old = True
                    raise
            return self._store


def _decoded(tree: bytes) -> Directory:
    return {node.name: node for node in decode_tree(tree)}


def _weight(directory: Directory) -> int:
    return sum(_NODE + len(node.content) for node in directory.values())
