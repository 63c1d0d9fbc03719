"""From a file system to trees and blobs: everything is looked at, and only what has changed is read.

One thread walks: it lists directories, compares them with the parent's, and hands on what must be read. A directory
is settled when all below it is; so what is in memory is the directories on the way down, and few besides.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass

from icebrick.engine.file import nodes
from icebrick.engine.file.base import MAX_DEPTH, FileTree, Listing, Problem, check_numbers, screened
from icebrick.engine.file.kept import KeptFiles, Proof
from icebrick.engine.file.parent import FilesBaseline, Parent
from icebrick.engine.file.pending import HELD_BY_ENTRY, FilesStats, Item, Ledger, Pending
from icebrick.engine.file.reading import Readers, Work, read_attributes
from icebrick.errors import FileSystemError
from icebrick.parallel import Slots, Workers
from icebrick.progress import NO_PROGRESS, Progress, Task
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node, go_mode

FILES_NAME = "files"
"""Of the root directory in a snapshot."""

QUEUE = 16
"""Shares of work that may wait: as many as keep other threads busy while the walk's own reads small files."""


@dataclass(frozen=True, slots=True)
class FilesResult:
    """Files whose blobs are with the writer; `node` is the root directory's and belongs into the snapshot's tree.

    `problems` tells what is not in the backup, or not in full, by path; the first `MAX_PROBLEMS` of `problem_count`.
    """

    node: Node
    stats: FilesStats
    problems: tuple[Problem, ...]
    problem_count: int


def backup_files(
    tree: FileTree,
    writer: BlobWriter,
    *,
    baseline: FilesBaseline | None = None,
    slots: Slots | None = None,
    progress: Progress = NO_PROGRESS,
) -> FilesResult:
    """Hand all files of `tree` to `writer`. FileSystemError when not even the root can be read."""
    slots = slots or Slots()
    ledger = Ledger(writer)

    def in_slot(work: Work) -> None:
        with slots.take() as slot:
            work(slot)

    try:
        with progress.task("read files", unit="B") as task:
            root = tree.open_root()
            ledger.opened(root)
            top = Pending(root, None, None if baseline is None else baseline.tree)
            with Workers(in_slot, threads=slots.count, depth=QUEUE, name="files") as workers:
                readers = Readers(ledger, writer, slots, workers, task)
                _Walk(ledger, readers, Parent(baseline), task, slots).run(top)
    finally:
        ledger.close_all()
    return _result(ledger, top)


def _result(ledger: Ledger, top: Pending) -> FilesResult:
    entry = top.directory.entry
    mtime = Timestamp(entry.mtime_ns)
    node = Node(
        FILES_NAME,
        type="dir",
        mode=go_mode(entry.mode),
        mtime=mtime,
        atime=mtime,
        ctime=Timestamp(entry.ctime_ns),
        uid=entry.uid,
        gid=entry.gid,
        inode=entry.inode,
        extended_attributes=tuple(top.attributes),
        subtree=ledger.tree,
    )
    problems = tuple(sorted(ledger.problems, key=lambda problem: problem.path))
    return FilesResult(node, ledger.stats, problems, ledger.problem_count)


class _Walk:
    """The thread that walks. It does not work on data, so it takes no slot."""

    def __init__(self, ledger: Ledger, readers: Readers, parent: Parent, task: Task, slots: Slots) -> None:
        self._ledger, self._readers, self._parent, self._slots = ledger, readers, parent, slots
        self._encoder = nodes.NodeEncoder()
        self._proof = Proof(ledger, readers, parent, task)

    def run(self, top: Pending) -> None:
        """All below `top`, depth first."""
        top.attributes = read_attributes(self._ledger, top.path, top.directory.attributes)
        way = [(top, self._enter(top, screened(top.directory.list())))]
        while way:
            pending, below = way[-1]
            for item in below:
                if found := self._open(item):
                    way.append(found)
                    break
            else:
                way.pop()
                self._ledger.release(pending)
        self._proof.flush()
        self._readers.flush()

    def _open(self, item: Item) -> tuple[Pending, Iterator[Item]] | None:
        """A directory and those in it; None when that cannot be told."""
        self._slots.check()
        try:
            pending, listing = self._listed(item)
        except FileSystemError as error:
            self._ledger.give_up(item, error)
            return None
        return pending, self._enter(pending, listing)

    def _listed(self, item: Item) -> tuple[Pending, Listing]:
        check_numbers(item.entry)
        if item.within.depth >= MAX_DEPTH:
            raise FileSystemError(f"more than {MAX_DEPTH} directories deep")
        directory = item.within.directory.open_directory(item.entry.name)
        self._ledger.opened(directory)
        pending = Pending(directory, item, nodes.subtree_of(item.before) if item.before else None)
        try:
            listing = screened(directory.list())
            self._ledger.hold(pending, len(listing.entries) * HELD_BY_ENTRY)
        except FileSystemError:
            self._ledger.close(directory)
            raise
        if not item.unchanged:
            pending.attributes = read_attributes(self._ledger, pending.path, directory.attributes)
        return pending, listing

    def _enter(self, pending: Pending, listing: Listing) -> Iterator[Item]:
        """Settle what has not changed, have the rest read; the directories, still to be walked."""
        before, settled_ns = self._parent.nodes(pending.tree), self._parent.settled_ns
        for problem in listing.problems:
            self._ledger.note(f"{pending.path}/{problem.path}", problem.reason)
        pending.lines = [None] * len(listing.entries)
        pending.same = before is not None and len(before) == len(listing.entries) and not listing.problems
        below: list[Item] = []
        contents: dict[int, bytes | None] = {}
        others = 0
        for place, entry in enumerate(listing.entries):
            name = nodes.encode_name(entry.name)
            head = self._encoder.head(entry, name)
            node = before.get(name) if before else None
            unchanged = node is not None and entry.ctime_ns < settled_ns and nodes.has_head(node, head)
            form = stat.S_IFMT(entry.mode)
            if form == stat.S_IFDIR:
                below.append(Item(pending, place, entry, head, node, unchanged))
            elif node is None or not unchanged:
                self._ledger.expect(pending, 1)
                self._readers.put(Item(pending, place, entry, head, node, unchanged))
            else:
                pending.lines[place] = node
                if form == stat.S_IFREG:
                    contents[place] = nodes.content_of(node)
                else:
                    others += 1
        self._ledger.expect(pending, len(below))
        if contents or others:
            self._ledger.expect(pending, 1)
            self._proof.put(KeptFiles(pending, listing.entries, contents, others))
        return iter(below)
