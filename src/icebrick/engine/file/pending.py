"""Directories under way to become trees: each is settled by whichever thread finishes the last thing in it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from icebrick.engine.file import nodes
from icebrick.engine.file.base import Directory, Entry, Problem
from icebrick.errors import FileSystemError
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import BlobType
from icebrick.repository.tree import ExtendedAttribute

MAX_HELD = 4 << 30
"""Of all directories not yet settled together, in bytes."""
MAX_PROBLEMS = 10_000
"""So many are told one by one; the rest is counted."""
HELD_BY_ENTRY = 2 << 10
"""The most that an entry of usual length takes."""


@dataclass(slots=True)
class FilesStats:
    """Counts of regular files and of directories, as restic's; bytes of regular files."""

    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    others: int = 0
    """Links, devices, fifos and sockets."""
    bytes_total: int = 0
    bytes_read: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """An entry whose node is to be made; `before` is the parent's node of this name.

    `unchanged`: all that `lstat` tells is as it was.
    """

    within: Pending
    place: int
    entry: Entry
    head: str
    before: str | None
    unchanged: bool

    @property
    def path(self) -> str:
        return f"{self.within.path}/{self.entry.name}"


class Pending:
    """A directory not yet settled. `lines` are its nodes as text, each written by one thread; None is left out.

    `tree` is the parent's, and this one's too as long as all is the `same`. `waiting` is for so many things, of
    which one is the walk's own.
    """

    def __init__(self, directory: Directory, item: Item | None, tree: bytes | None) -> None:
        self.directory, self.item, self.tree = directory, item, tree
        self.path = "" if item is None else item.path
        self.depth: int = 0 if item is None else item.within.depth + 1
        self.attributes: Sequence[ExtendedAttribute] = ()
        self.lines: list[str | None] = []
        self.same = tree is not None
        self.waiting = 1
        self.held = 0


class Closable(Protocol):
    """What must not stay open."""

    def close(self) -> None: ...


class Ledger:
    """What is under way, and what has come of it. Methods may be called from any thread."""

    def __init__(self, writer: BlobWriter) -> None:
        self.stats = FilesStats()
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.tree: bytes | None = None
        """Of the root, when it is settled."""
        self._writer = writer
        self._open: set[Closable] = set()
        self._held = 0
        self._lock = threading.Lock()  # guards all of these, and the counts of what directories wait for

    def note(self, path: str, error: FileSystemError | str) -> None:
        """Something is not in the backup."""
        with self._lock:
            self.problem_count += 1
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(Problem(path or "/", str(error)))

    def add(self, stats: FilesStats) -> None:
        """Add to the fields of `stats`."""
        with self._lock:
            for name in FilesStats.__slots__:
                setattr(self.stats, name, getattr(self.stats, name) + getattr(stats, name))

    def opened(self, thing: Closable) -> None:
        """To be closed when nobody else will."""
        with self._lock:
            self._open.add(thing)

    def close(self, thing: Closable) -> None:
        with self._lock:
            self._open.discard(thing)
        thing.close()

    def close_all(self) -> None:
        """What was left open when the work was broken off; no other thread is at work any more."""
        while self._open:
            self._open.pop().close()

    def hold(self, pending: Pending, size: int) -> None:
        """Account for so many bytes more, until the directory is settled. FileSystemError when there is no room."""
        with self._lock:
            if self._held + size > MAX_HELD:
                raise FileSystemError(f"more than {MAX_HELD >> 30} GiB would have to be held in memory")
            self._held += size
            pending.held += size

    def expect(self, pending: Pending, count: int) -> None:
        """So many things more to wait for; the caller still holds one."""
        with self._lock:
            pending.waiting += count

    def settle(self, item: Item, line: str | None) -> None:
        """One more entry of its directory is known."""
        self._set(item, line)
        self.release(item.within)

    def give_up(self, item: Item, error: FileSystemError) -> None:
        """The entry is not in the backup."""
        self.note(item.path, error)
        self.settle(item, None)

    def _set(self, item: Item, line: str | None) -> None:
        item.within.lines[item.place] = line
        if line is None or line is not item.before:
            item.within.same = False

    def release(self, pending: Pending) -> None:
        """One thing less to wait for; if it was the last one, the tree is saved, and maybe those above."""
        following: Pending | None = pending
        while following is not None:
            with self._lock:
                following.waiting -= 1
                if following.waiting:
                    return
            following = self._complete(following)

    def _complete(self, pending: Pending) -> Pending | None:
        """Save the tree and tell the directory above, which is returned."""
        tree = pending.tree
        if tree is None or not pending.same:
            text = nodes.join_tree(filter(None, pending.lines))
            pending.lines = []  # in large folders saving takes the memory that they had
            tree = self._writer.save(BlobType.TREE, text)
        self.close(pending.directory)
        item = pending.item
        line = None if item is None else _line(item, pending, tree)
        with self._lock:
            self._held -= pending.held
            if item is None:
                self.tree = tree
                return None
            self.stats.dirs_unmodified += line is item.before
            self.stats.dirs_changed += item.before is not None and line is not item.before
            self.stats.dirs_new += item.before is None
        self._set(item, line)
        return item.within


def _line(item: Item, pending: Pending, tree: bytes) -> str:
    if item.before is None or not item.unchanged:
        return item.head + nodes.tail_of_directory(pending.attributes, tree)
    return item.before if tree == pending.tree else nodes.with_subtree(item.before, tree)
