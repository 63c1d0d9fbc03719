"""What lies in snapshots, ours and any that restic made, by its path from a snapshot's root on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from icebrick.blockdev import Data
from icebrick.engine.block.image import StoredImage
from icebrick.engine.block.restore import dump_image
from icebrick.engine.file.base import Problem
from icebrick.engine.file.outcome import shown
from icebrick.engine.file.select import EVERYTHING, Selected, Selection, TreePath
from icebrick.errors import CorruptDataError, RepositoryError, UsageError
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.tree import MODE_DIR, Node, decode_tree
from icebrick.repository.treecache import TreeCache


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of a snapshot."""

    path: TreePath
    node: Node

    @property
    def shown(self) -> str:
        """As the path is written; bytes that are not UTF-8 by surrogateescape."""
        return shown(self.path)


def find_path(trees: TreeCache, snapshot: Snapshot, path: str) -> Found:
    """What `path` leads to; links are not followed. RepositoryError when there is nothing, CorruptDataError."""
    found = Found((), Node("", type="dir", mode=MODE_DIR | 0o755, subtree=snapshot.tree))
    for name in _components(path):
        if found.node.type != "dir":
            raise RepositoryError(f"{found.shown} of snapshot {snapshot.id} is no directory, but a {found.node.type}")
        below = next((entry for entry in list_directory(trees, found) if entry.node.name == name), None)
        if below is None:
            raise RepositoryError(
                f"there is no {shown((*found.path, name))} in snapshot {snapshot.id}",
                hint="'icebrick find' tells which snapshots have it; 'icebrick ls' what this one has.",
            )
        found = below
    return found


def _components(path: str) -> TreePath:
    parts = tuple(part for part in path.split("/") if part)
    if not {".", ".."}.isdisjoint(parts):
        raise UsageError(f"the path {path!r} must be written without '.' and '..'")
    return parts


def list_directory(trees: TreeCache, directory: Found) -> list[Found]:
    """Its entries, in their stored order; CorruptDataError."""
    if directory.node.subtree is None:
        raise CorruptDataError(f"the backup names no tree for {directory.shown}")
    nodes = decode_tree(trees.load(directory.node.subtree))
    return [Found((*directory.path, node.name), node) for node in nodes]


@dataclass(slots=True)
class _Frame:
    """A directory on the way to where a search is."""

    key: tuple[TreePath, bytes]
    selected: Selected
    entries: Iterator[Found]
    is_barren: bool = True
    """Nothing in it was found."""


class Search:
    """Finds what is selected in one snapshot after the other; for one thread.

    A directory in which nothing was found is passed over where another snapshot has the same in the same place.
    """

    def __init__(self, trees: TreeCache, selection: Selection = EVERYTHING) -> None:
        self._trees = trees
        self._selection = selection
        self._barren: set[tuple[TreePath, bytes]] = set()
        self._frames: list[_Frame] = []
        self.problems: list[Problem] = []
        """Directories that could not be read; the search went on."""

    def below(self, directory: Found) -> Iterator[Found]:
        """What is found below a directory that is selected itself or the root: depth first, from above."""
        self._frames = []
        self._enter(directory, self._selection.start())
        while self._frames:
            frame = self._frames[-1]
            found = next(frame.entries, None)
            if found is None:
                self._leave()
                continue
            selected = frame.selected.below(found.path)
            if selected is None:
                continue
            if selected.is_meant:
                frame.is_barren = False
                yield found
            if found.node.type == "dir":
                self._enter(found, selected)

    def _enter(self, directory: Found, selected: Selected) -> None:
        key = (directory.path, directory.node.subtree or b"")
        if key in self._barren:
            return
        try:
            self._frames.append(_Frame(key, selected, iter(list_directory(self._trees, directory))))
        except CorruptDataError as error:
            self.problems.append(Problem(directory.shown, str(error)))

    def _leave(self) -> None:
        frame = self._frames.pop()
        if frame.is_barren:
            self._barren.add(frame.key)
        elif self._frames:
            self._frames[-1].is_barren = False


def search_snapshot(search: Search, snapshot: Snapshot) -> Iterator[Found]:
    """All that the search finds in a snapshot."""
    return search.below(Found((), Node("", type="dir", subtree=snapshot.tree)))


def dump_file(file: Found, store: BlobStore, write: Callable[[Data], None], progress: Progress) -> None:
    """Hand the content of a regular file to `write`, in order. UsageError for anything else, CorruptDataError."""
    if file.node.type != "file":
        hint = "With --archive tar a directory is written with all below." if file.node.type == "dir" else None
        raise UsageError(f"{file.shown} is no file, but a {file.node.type}", hint=hint)
    dump_content(file.node, store, write, progress)


def dump_content(node: Node, store: BlobStore, write: Callable[[Data], None], progress: Progress = NO_PROGRESS) -> None:
    """The same, of a node that is a regular file."""
    content = node.content
    if len(content) <= ID_SIZE:  # most files; not worth any threads
        for blob_id in [content] if content else []:
            write(store.load(BlobType.DATA, blob_id))
        return
    dump_image(StoredImage(content_size(node, store), content), store, write, progress=progress)


def content_size(node: Node, store: BlobStore) -> int:
    """Of what is stored, in bytes: that counts, whatever the node says. CorruptDataError when something is missing."""
    return int(store.places(node.content).sizes.sum())
