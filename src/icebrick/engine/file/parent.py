"""The tree of an earlier snapshot, as what is there is compared with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from icebrick.engine.file import nodes
from icebrick.errors import CorruptDataError
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.treecache import TreeCache

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FilesBaseline:
    """What to compare with: the tree of the root directory in an earlier snapshot of the same volume.

    Entries of which `lstat` tells that they were changed at `settled_ns` or later are not believed to be as in the
    parent: clocks of file systems tick every few milliseconds, some every second, so what was changed just before
    the file system was frozen may have been changed once more at the same time.
    """

    store: BlobStore
    tree: bytes
    settled_ns: int = (1 << 63) - 1


class Parent:
    """The nodes of the baseline's directories. For one thread; without a baseline there are none."""

    def __init__(self, baseline: FilesBaseline | None) -> None:
        self._store = None if baseline is None else baseline.store
        self._trees = None if baseline is None else TreeCache(baseline.store)
        self.settled_ns = 0 if baseline is None else baseline.settled_ns
        self._told = False

    def nodes(self, tree: bytes | None) -> dict[str, str] | None:
        """By their names as JSON strings; None where the tree is lost, which costs time, not the backup."""
        if tree is None or self._trees is None:
            return None
        try:
            return nodes.split_tree(self._trees.load(tree))
        except CorruptDataError as error:
            if not self._told:
                log.warning("directories of the parent are not usable and read anew: %s", error)
                self._told = True
            return None

    def holds(self, contents: Sequence[bytes | None]) -> bool:
        """Whether all blobs of these files are still in the repository; None is the content of none."""
        ids = b"".join(filter(None, contents))
        return None not in contents and self._store is not None and self._store.has_all(BlobType.DATA, ids)
