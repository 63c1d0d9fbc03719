"""What differs between two snapshots: their trees as restic tells it, and blocks of volumes' images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from icebrick.engine.block.compare import ImageDifference, compare_images
from icebrick.engine.block.image import find_image
from icebrick.engine.file.outcome import shown
from icebrick.engine.file.select import TreePath
from icebrick.errors import CorruptDataError
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.index.load import load_index
from icebrick.repository.prune.marks import mark_used
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.tree import Node, decode_tree
from icebrick.repository.treecache import TreeCache
from icebrick.workflow.stats import Blobs, count_blobs

ADDED, REMOVED, MODIFIED, RETYPED, TOUCHED = "+", "-", "M", "T", "U"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that is new, gone, or not as it was; `modifier` has restic's letters, `node` is the newer one."""

    path: TreePath
    modifier: str
    node: Node

    @property
    def shown(self) -> str:
        """As the path is written; that of a directory ends with a slash."""
        return shown(self.path) + ("/" if self.node.type == "dir" else "")


@dataclass(slots=True)
class Tally:
    """So many entries were added, or removed."""

    files: int = 0
    dirs: int = 0
    others: int = 0

    def count(self, node: Node) -> None:
        match node.type:
            case "file":
                self.files += 1
            case "dir":
                self.dirs += 1
            case _:
                self.others += 1


@dataclass(slots=True)
class Counts:
    """What a list of changes comes to."""

    changed_files: int = 0
    added: Tally = field(default_factory=Tally)
    removed: Tally = field(default_factory=Tally)

    def count(self, change: Change) -> None:
        if change.modifier in (ADDED, REMOVED):
            (self.added if change.modifier == ADDED else self.removed).count(change.node)
        elif MODIFIED in change.modifier:
            self.changed_files += 1


@dataclass(frozen=True, slots=True)
class BlobChange:
    """What only one of the snapshots needs."""

    data: Blobs
    trees: Blobs

    @property
    def size(self) -> int:
        """Of the plaintexts, in bytes."""
        return self.data.size + self.trees.size


_Directories = tuple[TreePath, bytes | None, bytes | None]
"""A path and the trees there, the older one first."""


class Comparison:
    """Of two snapshots, under the caller's lock, under which they were listed. For one thread; CorruptDataError."""

    def __init__(
        self, repository: Repository, older: Snapshot, newer: Snapshot, progress: Progress = NO_PROGRESS
    ) -> None:
        self._index = load_index(repository.backend, repository.key, progress).index
        self._progress = progress
        self._older, self._newer = older, newer
        self._store = BlobStore(repository.backend, repository.key, self._index)
        self._trees = TreeCache(self._store)

    def changes(self, *, metadata: bool = False) -> Iterator[Change]:
        """By path; with `metadata` also of entries of which nothing but attributes or times changed."""
        pending = [self._compared((), self._older.tree, self._newer.tree, metadata=metadata)]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                continue
            change, below = found
            if change is not None:
                yield change
            if below is not None:
                path, older, newer = below
                pending.append(self._compared(path, older, newer, metadata=metadata))

    def blobs(self) -> tuple[BlobChange, BlobChange]:
        """What the newer one has added, and what of the older one it does not need."""
        older = mark_used(self._store, self._index, self._older.tree, self._progress)
        newer = mark_used(self._store, self._index, self._newer.tree, self._progress)
        pairs = list(zip(older, newer, strict=True))
        added = BlobChange(*(count_blobs(new, new.used & ~old.used) for old, new in pairs))
        removed = BlobChange(*(count_blobs(old, old.used & ~new.used) for old, new in pairs))
        return added, removed

    def image(self) -> ImageDifference | None:
        """Of volumes' images, where both have one of blocks; None elsewhere."""
        older, newer = find_image(self._store, self._older.tree), find_image(self._store, self._newer.tree)
        return compare_images(older, newer) if older is not None and newer is not None else None

    def _compared(
        self, path: TreePath, older: bytes | None, newer: bytes | None, *, metadata: bool
    ) -> Iterator[tuple[Change | None, _Directories | None]]:
        """Each entry's change, and the directories that are to be compared after it."""
        olds, news = self._nodes(older), self._nodes(newer)
        for name in sorted({*olds, *news}, key=os.fsencode):
            old, new = olds.get(name), news.get(name)
            modifier = _modifier(old, new, metadata=metadata)
            node = new or old
            assert node is not None
            change = Change((*path, name), modifier, node) if modifier else None
            yield change, _below((*path, name), old, new)

    def _nodes(self, tree: bytes | None) -> dict[str, Node]:
        return {} if tree is None else {node.name: node for node in decode_tree(self._trees.load(tree))}


def _modifier(old: Node | None, new: Node | None, *, metadata: bool) -> str:
    if old is None:
        return ADDED
    if new is None:
        return REMOVED
    retyped = RETYPED if old.type != new.type else ""
    if old.type == new.type == "file" and old.content != new.content:
        return retyped + MODIFIED
    return retyped + (TOUCHED if metadata and old != new else "")


def _below(path: TreePath, old: Node | None, new: Node | None) -> _Directories | None:
    """The directories of that name, where they differ. One that became something else is told as one change."""
    older, newer = (_subtree(path, node) for node in (old, new))
    if older == newer or (old is not None and new is not None and (older is None or newer is None)):
        return None
    return path, older, newer


def _subtree(path: TreePath, node: Node | None) -> bytes | None:
    if node is None or node.type != "dir":
        return None
    if node.subtree is None:
        raise CorruptDataError(f"the backup names no tree for {shown(path)}")
    return node.subtree
