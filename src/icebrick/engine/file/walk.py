"""The trees of a snapshot walked together with the directories that they belong into.

One directory is held at a time: the walk goes down by names and up by "..", and looks each time whether it came to
where it was. So however deep the trees, however hostile, and whatever others do meanwhile, it stays in the target.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from icebrick.engine.file.outcome import Tally, raise_if_full, reason, shown
from icebrick.engine.file.select import EVERYTHING, Selected, Selection, TreePath
from icebrick.engine.file.target import (
    DIRECTORY,
    Identity,
    find_entry,
    identity,
    open_directory,
    open_parent,
    remove_entry,
)
from icebrick.errors import CorruptDataError, FileSystemError
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.tree import Node, decode_tree


class Visitor(Protocol):
    """What is done on the way. Directories are given as descriptors, valid during the call."""

    def entry(self, directory: int, node: Node, path: TreePath, *, fresh: bool) -> None:
        """Something that is no directory belongs into this one; nothing is in it yet when it is `fresh`."""

    def leave(self, directory: int, node: Node, path: TreePath, *, fresh: bool) -> None:
        """Everything below the directory has been visited."""


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """`keep_others`: what is no directory is not removed where one belongs."""

    selection: Selection = EVERYTHING
    keep_others: bool = False
    delete_extra: bool = False


class _Missing(Exception):
    """The directory could not be made; what belongs into it has no place."""


@dataclass(slots=True)
class _Frame:
    """A directory on the way to where the walk is. `place` is None as long as it was not needed on the target."""

    node: Node
    path: TreePath
    selected: Selected
    place: Identity | None = None
    fresh: bool = False
    directories: list[tuple[Node, Selected]] = field(default_factory=list)
    """Those below that are still to be visited, the next one last."""


class Walk:
    """Makes the directories that what is selected needs, and removes what is in their way."""

    def __init__(self, store: BlobStore, options: WalkOptions, tally: Tally, visitor: Visitor) -> None:
        self._store, self._options, self._tally, self._visitor = store, options, tally, visitor
        self._frames: list[_Frame] = []
        self._directory = -1  # of the last frame that has a place

    def run(self, root: Node, target: int) -> None:
        """Below the open directory `target`, which is what the node `root` was."""
        self._directory = os.open(".", DIRECTORY, dir_fd=target)
        try:
            place = identity(os.fstat(self._directory))
            self._enter(_Frame(root, (), self._options.selection.start(), place))
            while self._frames:
                frame = self._frames[-1]
                if frame.directories:
                    node, selected = frame.directories.pop()
                    self._enter(_Frame(node, (*frame.path, node.name), selected))
                else:
                    self._leave()
        finally:
            os.close(self._directory)

    def _enter(self, frame: _Frame) -> None:
        self._frames.append(frame)
        try:
            if frame.selected.is_meant:
                self._make_place()
            nodes = self._load_tree(frame)
            if nodes is not None:
                self._remove_extra(frame, {node.name for node in nodes})
                self._visit_all(frame, nodes)
        except _Missing:
            frame.directories.clear()
        frame.directories.reverse()

    def _load_tree(self, frame: _Frame) -> list[Node] | None:
        """None when it cannot be read: nothing is known of what belongs into the directory."""
        with self._tally.noting(frame.path):
            return load_tree(self._store, frame.node)
        return None

    def _visit_all(self, frame: _Frame, nodes: list[Node]) -> None:
        names: set[str] = set()
        for node in nodes:
            path = (*frame.path, node.name)
            selected = frame.selected.below(path)
            if selected is None:
                continue
            if node.name in names:
                self._tally.problem(path, "the backup has a second entry of this name")
            elif node.type == "dir":
                frame.directories.append((node, selected))
            elif selected.is_meant:
                self._make_place()
                self._visitor.entry(self._directory, node, path, fresh=frame.fresh)
            names.add(node.name)

    def _make_place(self) -> None:
        """Make all directories up to where the walk is."""
        for frame in self._frames:
            if frame.place is None:
                self._go_down(frame)

    def _go_down(self, frame: _Frame) -> None:
        """From the directory above, into one that is made when it is not there."""
        try:
            frame.fresh = self._make_directory(frame.node.name)
            child = open_directory(self._directory, frame.node.name)
        except (OSError, ValueError, FileSystemError) as error:
            raise_if_full(error)
            self._tally.problem(frame.path, f"cannot be made, nothing in it is restored: {reason(error)}")
            raise _Missing from error
        os.close(self._directory)
        self._directory = child
        frame.place = identity(os.fstat(child))

    def _make_directory(self, name: str) -> bool:
        """Whether there was none."""
        found = find_entry(self._directory, name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            return False
        if found is not None and self._options.keep_others:
            raise FileSystemError("what is in its place is no directory, and is kept")
        if found is not None:
            os.unlink(name, dir_fd=self._directory)
        os.mkdir(name, 0o700, dir_fd=self._directory)
        return True

    def _leave(self) -> None:
        frame = self._frames.pop()
        if frame.place is None:
            return
        directory = self._directory
        above = self._frames[-1].place if self._frames else None
        self._directory = open_parent(directory, above) if above else os.dup(directory)
        try:
            if frame.selected.is_meant or frame.fresh:
                self._visitor.leave(directory, frame.node, frame.path, fresh=frame.fresh)
        finally:
            os.close(directory)

    def _remove_extra(self, frame: _Frame, wanted: set[str]) -> None:
        if not self._options.delete_extra or frame.fresh:
            return
        with self._tally.noting(frame.path):
            if not self._is_there():
                return
            for name in os.listdir(self._directory):
                path = (*frame.path, name)
                selected = None if name in wanted else frame.selected.below(path)
                if selected is not None and selected.is_meant:
                    self._remove(name, path)

    def _remove(self, name: str, path: TreePath) -> None:
        problems = list(remove_entry(self._directory, name, shown(path)))
        for problem in problems:
            self._tally.problem(problem.path, problem.reason)
        if not problems:
            self._tally.removed()

    def _is_there(self) -> bool:
        """Go to where the walk is as far as the target has the directories; whether it has all of them."""
        for frame in self._frames_without_place():
            found = find_entry(self._directory, frame.node.name)
            if found is None or not stat.S_ISDIR(found.st_mode):
                return False
            self._go_down(frame)
        return True

    def _frames_without_place(self) -> Iterator[_Frame]:
        return (frame for frame in self._frames if frame.place is None)


def load_tree(store: BlobStore, node: Node) -> list[Node]:
    """What is in a directory; CorruptDataError."""
    if node.subtree is None:
        raise CorruptDataError("the backup names no tree for this directory")
    return decode_tree(store.load(BlobType.TREE, node.subtree))
