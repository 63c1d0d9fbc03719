"""Proof that a file system holds what a snapshot says: every entry is looked at and every byte is hashed."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from icebrick.engine.file.base import MAX_DEPTH, Directory, Entry, FileContent, FileTree, Problem, screened
from icebrick.engine.file.content import BATCH_BYTES, BATCH_FILES, split_ids
from icebrick.engine.file.outcome import shown
from icebrick.engine.file.select import EVERYTHING, Selected, Selection, TreePath
from icebrick.engine.file.walk import load_tree
from icebrick.errors import CorruptDataError, FileSystemError
from icebrick.parallel import Slot, Slots, Workers
from icebrick.progress import NO_PROGRESS, Progress, Task
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import digest
from icebrick.repository.tree import Node, st_mode

MAX_REPORTED = 100
_READ = 1 << 20


@dataclass(slots=True)
class FileVerifyStats:
    """What was compared."""

    entries: int = 0
    files: int = 0
    """Regular files whose content is right."""
    size: int = 0
    """Of these, in bytes."""
    mismatches: int = 0
    """Entries that are missing or differ, in content or in any attribute that a restore can set."""
    first_mismatches: list[Problem] = field(default_factory=list)
    """At most 100 of them."""
    extra: int = 0
    """Not in the backup; what is in extra directories is not counted."""
    digest: str = ""
    """The id of the root's tree: hex SHA-256 over all names, attributes and content below it."""


def verify_files(
    root: Node,
    store: BlobStore,
    tree: FileTree,
    *,
    selection: Selection = EVERYTHING,
    slots: Slots | None = None,
    progress: Progress = NO_PROGRESS,
) -> FileVerifyStats:
    """Compare `tree` with what `root`, a directory's node, was; differences are counted, not raised.

    Not compared are inode numbers and the times of access and of change, which nobody can set.
    """
    slots = slots or Slots()
    with progress.task("verify", unit="B") as task:
        verification = _Verification(store, slots, task)
        verification.stats.digest = root.subtree.hex() if root.subtree else ""
        try:
            with Workers(verification.read, threads=slots.count, name="verify") as workers:
                verification.put = workers.put
                verification.walk(root, selection.start(), tree)
        finally:
            verification.close()
    verification.stats.first_mismatches.sort(key=lambda problem: problem.path)
    return verification.stats


@dataclass(frozen=True, slots=True)
class _File:
    node: Node
    path: TreePath
    content: FileContent


@dataclass(slots=True)
class _Frame:
    directory: Directory
    path: TreePath
    below: Iterator[tuple[Node, Selected]]
    """The directories in it that are still to be visited."""


class _Verification:
    def __init__(self, store: BlobStore, slots: Slots, task: Task) -> None:
        self._store, self._slots, self._task = store, slots, task
        self.stats = FileVerifyStats()
        self.put: Callable[[list[_File]], None] = lambda batch: None
        self._frames: list[_Frame] = []
        self._batch: list[_File] = []
        self._open: set[FileContent] = set()
        self._lock = threading.Lock()  # guards _open, and the stats' numbers that several threads change
        self._links = _LinkComparison()
        self._zeros: dict[int, bytes] = {}  # ids of blobs of zeros, by their size

    def close(self) -> None:
        """Close what an error left open."""
        for content in self._open:
            content.close()
        for frame in self._frames:
            frame.directory.close()

    def _differs(self, path: TreePath, reasons: Sequence[str]) -> None:
        with self._lock:
            self.stats.mismatches += 1
            if len(self.stats.first_mismatches) < MAX_REPORTED:
                self.stats.first_mismatches.append(Problem(shown(path), "; ".join(reasons)))

    def walk(self, root: Node, selected: Selected, tree: FileTree) -> None:
        """Compare all but files' content, which is handed on."""
        self._enter(tree.open_root(), root, (), selected)
        while self._frames:
            frame = self._frames[-1]
            below = next(frame.below, None)
            if below is None:
                self._frames.pop().directory.close()
            else:
                self._go_down(frame, *below)
        self._hand_over()

    def _go_down(self, frame: _Frame, node: Node, selected: Selected) -> None:
        path = (*frame.path, node.name)
        if len(path) > MAX_DEPTH:
            self._differs(path, [f"more than {MAX_DEPTH} directories deep"])
            return
        try:
            directory = frame.directory.open_directory(node.name)
        except FileSystemError as error:
            self._differs(path, [str(error)])
            return
        self._enter(directory, node, path, selected)

    def _enter(self, directory: Directory, node: Node, path: TreePath, selected: Selected) -> None:
        frame = _Frame(directory, path, iter(()))
        self._frames.append(frame)
        self._slots.check()
        try:
            if not path and selected.is_meant:
                self._compare(directory, node, directory.entry, path)
            nodes = load_tree(self._store, node)
            listing = screened(directory.list())
        except (FileSystemError, CorruptDataError) as error:
            self._differs(path, [str(error)])
            return
        for problem in listing.problems:
            self._differs((*path, problem.path), [problem.reason])
        entries = {entry.name: entry for entry in listing.entries}
        frame.below = iter(list(self._compare_all(frame, nodes, entries, selected)))
        for name in entries.keys() - {node.name for node in nodes}:
            inside = selected.below((*path, name))
            self.stats.extra += inside is not None and inside.is_meant

    def _compare_all(
        self, frame: _Frame, nodes: Sequence[Node], entries: dict[str, Entry], selected: Selected
    ) -> Iterator[tuple[Node, Selected]]:
        """Compare the entries of a directory; the directories among them that are the same kind of thing."""
        for node in nodes:
            path = (*frame.path, node.name)
            inside, entry = selected.below(path), entries.get(node.name)
            if inside is None:
                continue
            if inside.is_meant and entry is None:
                self._differs(path, ["it is missing"])
            if inside.is_meant and entry is not None:
                self._compare(frame.directory, node, entry, path)
            if node.type == "dir" and entry is not None and stat.S_ISDIR(entry.mode):
                yield node, inside

    def _compare(self, directory: Directory, node: Node, entry: Entry, path: TreePath) -> None:
        self.stats.entries += 1
        try:
            differences = [*compare_entry(node, entry), *self._links.compare(node, entry)]
            differences += compare_more(directory, node, entry)
            if not differences and node.type == "file":
                self._have_read(_File(node, path, directory.open_file(node.name)))
        except (FileSystemError, ValueError) as error:
            differences = [str(error)]
        if differences:
            self._differs(path, differences)

    def _have_read(self, file: _File) -> None:
        with self._lock:
            self._open.add(file.content)
        self._batch.append(file)
        if len(self._batch) >= BATCH_FILES or sum(file.node.size for file in self._batch) >= BATCH_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self.put(batch)

    def read(self, batch: Sequence[_File]) -> None:
        """Compare the content of files, and close them."""
        with self._slots.take() as slot:
            for file in batch:
                with self._lock:
                    self._open.discard(file.content)
                with file.content:
                    self._compare_content(file, slot)

    def _compare_content(self, file: _File, slot: Slot) -> None:
        try:
            size = self._read_content(file, slot)
        except (FileSystemError, CorruptDataError) as error:
            self._differs(file.path, [str(error)])
            return
        if size is None:
            self._differs(file.path, ["its content differs"])
            return
        with self._lock:
            self.stats.files += 1
            self.stats.size += size

    def _read_content(self, file: _File, slot: Slot) -> int | None:
        """How many bytes are right; None when one is wrong."""
        ids = file.node.content
        sizes = self._store.places(ids).sizes.tolist() if ids else []
        for blob_id, length in zip(split_ids(ids), sizes, strict=True):
            if not self._has_blob(file.content, blob_id, length, slot):
                return None
            self._task.advance(length)
        return None if file.content.read_into(slot.memory(1)) else sum(sizes)

    def _has_blob(self, content: FileContent, blob_id: bytes, length: int, slot: Slot) -> bool:
        if content.hole() >= length:
            content.skip(length)
            if length not in self._zeros:
                self._zeros[length] = digest(bytes(length))
            return self._zeros[length] == blob_id
        found = hashlib.sha256()
        while length and (count := content.read_into(slot.memory(min(length, _READ)))):
            found.update(slot.memory(count))
            length -= count
        return not length and found.digest() == blob_id


class _LinkComparison:
    """Names of one file in the backup are names of one file on disk, and the other way round."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], tuple[int, int]] = {}
        self._stored: dict[tuple[int, int], tuple[int, int]] = {}

    def compare(self, node: Node, entry: Entry) -> Iterator[str]:
        if node.type == "dir":
            return
        found, stored = (entry.device, entry.inode), (node.device_id, node.inode)
        # restic does not keep the number of links of fifos and sockets: it is 0
        if not node.inode or node.links == 1:
            stored = (-1, len(self._stored))  # like no other
        elif self._found.setdefault(stored, found) != found:
            yield "it is not the same file as another of its names"
        if entry.links > 1 and self._stored.setdefault(found, stored) != stored:
            yield "it is the same file as another name"


def compare_entry(node: Node, entry: Entry) -> Iterator[str]:
    """What differs of that which a listing tells; ValueError for a kind of file that Unix does not know."""
    mode = st_mode(node.mode)
    if stat.S_IFMT(mode) != stat.S_IFMT(entry.mode):
        yield f"it is another kind of file: {stat.filemode(entry.mode)[0]} instead of {stat.filemode(mode)[0]}"
        return
    # the permissions of a symbolic link mean nothing, and nobody can set them
    if not stat.S_ISLNK(mode) and mode != entry.mode:
        yield f"permissions {stat.S_IMODE(entry.mode):#o} instead of {stat.S_IMODE(mode):#o}"
    if (entry.uid, entry.gid) != (node.uid, node.gid):
        yield f"owner {entry.uid}:{entry.gid} instead of {node.uid}:{node.gid}"
    if entry.mtime_ns != node.mtime.ns:
        yield f"modification time {entry.mtime_ns} ns instead of {node.mtime.ns} ns"
    if stat.S_ISREG(mode) and entry.size != node.size:
        yield f"{entry.size} bytes instead of {node.size}"
    if (stat.S_ISBLK(mode) or stat.S_ISCHR(mode)) and entry.rdev != node.device:
        yield f"device {entry.rdev:#x} instead of {node.device:#x}"


def compare_more(directory: Directory, node: Node, entry: Entry) -> Iterator[str]:
    """What differs of that which must be asked for; FileSystemError."""
    if node.type == "symlink" and stat.S_ISLNK(entry.mode):
        target = directory.link_target(node.name)
        if target != node.linktarget:
            yield f"it points to {target!r} instead of {node.linktarget!r}"
    found = {attribute.name: attribute.value for attribute in directory.attributes(entry.name)}
    wanted = {attribute.name: attribute.value for attribute in node.extended_attributes}
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if names:
        yield f"other extended attributes: {', '.join(names)}"
