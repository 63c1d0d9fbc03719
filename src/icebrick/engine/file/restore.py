"""From the trees of a snapshot to files on this host: what is there already and right is left as it is.

One thread makes what has a name, others fill the files. A file that has other names is never written, as these may
mean something else; it is made anew where it is not right.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable

from icebrick.engine.file.attributes import Outcome, has_attributes, set_attributes
from icebrick.engine.file.content import (
    BATCH_BYTES,
    BATCH_FILES,
    ContentWriter,
    OpenFile,
    Part,
    holds_content,
    parts_of,
)
from icebrick.engine.file.options import FileRestoreOptions, Overwrite
from icebrick.engine.file.outcome import FileRestoreStats, Tally
from icebrick.engine.file.select import TreePath
from icebrick.engine.file.target import Identity, find_entry, identity, link_entry, pinned, remove_entry
from icebrick.engine.file.walk import Visitor, Walk, WalkOptions
from icebrick.errors import FileSystemError
from icebrick.parallel import Slots, Workers
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.tree import Node

_FORMS = {"file": stat.S_IFREG, "symlink": stat.S_IFLNK, "dev": stat.S_IFBLK, "chardev": stat.S_IFCHR}
_FORMS |= {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}
_DEVICES = (stat.S_IFBLK, stat.S_IFCHR)
_GUARDED = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def restore_files(
    root: Node,
    store: BlobStore,
    target: int,
    *,
    options: FileRestoreOptions | None = None,
    slots: Slots | None = None,
    progress: Progress = NO_PROGRESS,
) -> FileRestoreStats:
    """Make the open directory `target` what `root`, a directory's node, was; durable once its file system is synced.

    What fails is noted with its path, and the rest goes on. FileSystemError when the target is full.
    """
    options, slots = options or FileRestoreOptions(), slots or Slots()
    restore = _Restore(store, target, options, slots)
    walk = Walk(
        store,
        WalkOptions(options.selection, options.overwrite is Overwrite.NEVER, options.delete_extra),
        restore.tally,
        restore,
    )
    with progress.task("restore", unit="B") as task:
        writer = ContentWriter(store, slots, task)
        try:
            with Workers(writer.fill, threads=store.connections, name="restore") as workers:
                restore.put = workers.put
                walk.run(root, target)
                restore.hand_over()
        finally:
            restore.close()
    return restore.tally.stats


class _Links:
    """Which inode of the target stands for which of the backup, for those that may have several names."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, str], tuple[TreePath, Identity]] = {}
        self._claimed: set[Identity] = set()

    @staticmethod
    def _key(node: Node) -> tuple[int, int, str] | None:
        # restic does not keep the number of links of fifos and sockets: it is 0
        return (node.device_id, node.inode, node.type) if node.inode and node.links != 1 else None

    def find(self, node: Node) -> tuple[TreePath, Identity] | None:
        key = self._key(node)
        return None if key is None else self._made.get(key)

    def add(self, node: Node, path: TreePath, file: int | str) -> None:
        """An open or pinned file."""
        key = self._key(node)
        if key is not None:
            self._made[key] = (path, identity(os.stat(file)))

    def claim(self, place: os.stat_result) -> bool:
        """False when the inode stands for another of the backup already."""
        if identity(place) in self._claimed:
            return False
        self._claimed.add(identity(place))
        return True


class _Restore(Visitor):
    def __init__(self, store: BlobStore, target: int, options: FileRestoreOptions, slots: Slots) -> None:
        self._store, self._target, self._options, self._slots = store, target, options, slots
        self.tally = Tally()
        self.put: Callable[[list[Part]], None] = lambda batch: None
        self._links = _Links()
        self._batch: list[Part] = []
        self._batch_bytes = 0
        self._open: set[OpenFile] = set()
        self._lock = threading.Lock()  # guards _open

    def close(self) -> None:
        """Close the files that were not filled because an error ended the run."""
        for file in self._open:
            os.close(file.fd)

    def leave(self, directory: int, node: Node, path: TreePath, *, fresh: bool) -> None:
        if fresh or self._options.overwrite is not Overwrite.NEVER:
            self._count(path, set_attributes(directory, node, fresh=fresh))

    def entry(self, directory: int, node: Node, path: TreePath, *, fresh: bool) -> None:
        self._slots.check()
        with self.tally.noting(path):
            self._restore(directory, node, path, None if fresh else find_entry(directory, node.name))
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self.hand_over()

    def hand_over(self) -> None:
        """Let other threads fill the files that were gathered."""
        parts, self._batch, self._batch_bytes = self._batch, [], 0
        batch: list[Part] = []
        for part in parts:
            if batch and sum(other.size for other in batch) + part.size > BATCH_BYTES:
                self.put(batch)
                batch = []
            batch.append(part)
        if batch:
            self.put(batch)

    def _restore(self, directory: int, node: Node, path: TreePath, found: os.stat_result | None) -> None:
        form = _FORMS.get(node.type)
        if form is None:
            raise FileSystemError(f"the backup has something of the unknown type {node.type!r} here")
        if found is not None and self._is_kept(node, found):
            self.tally.kept()
            return
        linked = self._links.find(node)
        if linked is not None:
            self._restore_link(directory, node, *linked, found)
        elif form == stat.S_IFREG:
            self._restore_file(directory, node, path, found)
        else:
            self._restore_other(directory, node, path, found)

    def _is_kept(self, node: Node, found: os.stat_result) -> bool:
        rule = self._options.overwrite
        return rule is Overwrite.NEVER or (rule is Overwrite.IF_NEWER and node.mtime.ns <= found.st_mtime_ns)

    def _clear(self, directory: int, name: str, found: os.stat_result | None) -> None:
        """Nothing has this name any more; OSError or FileSystemError."""
        if found is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=directory)
        elif not self._options.delete_extra:
            os.rmdir(name, dir_fd=directory)
        elif problems := list(remove_entry(directory, name, name)):
            raise FileSystemError(f"the directory in its place stays: {problems[0].path} {problems[0].reason}")

    def _restore_link(
        self, directory: int, node: Node, first: TreePath, place: Identity, found: os.stat_result | None
    ) -> None:
        is_right = found is not None and identity(found) == place
        if not is_right:
            self._clear(directory, node.name, found)
            link_entry(self._target, first, directory, node.name, expected=place)
        self.tally.entry(changed=not is_right)

    def _restore_file(self, directory: int, node: Node, path: TreePath, found: os.stat_result | None) -> None:
        if found is not None and stat.S_ISREG(found.st_mode):
            if self._is_settled(directory, node, path, found):
                self.tally.entry(changed=False)
                return
            fd = None if found.st_nlink > 1 else _open_existing(directory, node.name, found)
            if fd is not None:
                self._links.add(node, path, fd)
                self._fill(fd, node, path, fresh=False)
                return
        self._clear(directory, node.name, found)
        fd = os.open(node.name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _GUARDED, 0o600, dir_fd=directory)
        self._links.add(node, path, fd)
        self._fill(fd, node, path, fresh=True)

    def _is_settled(self, directory: int, node: Node, path: TreePath, found: os.stat_result) -> bool:
        """Whether a file needs nothing, told without the other threads: it has other names, or is believed."""
        believed = self._options.overwrite is Overwrite.IF_CHANGED and _looks_unchanged(node, found)
        if not believed and (found.st_nlink == 1 or not self._links.claim(found)):
            return False
        fd = _open_existing(directory, node.name, found, os.O_RDONLY)
        if fd is None:
            return False
        try:
            if not has_attributes(fd, node) or not (believed or holds_content(fd, node, self._store, self._slots)):
                return False
            self._links.add(node, path, fd)
        finally:
            os.close(fd)
        return True

    def _fill(self, fd: int, node: Node, path: TreePath, *, fresh: bool) -> None:
        """Have the content put right by another thread, which closes the file."""
        file = OpenFile(fd, node, fresh=fresh, finish=lambda file: self._finish(file, path))
        with self._lock:
            self._open.add(file)
        parts = parts_of(file, self._store)
        self._batch += parts
        self._batch_bytes += sum(part.size for part in parts)

    def _finish(self, file: OpenFile, path: TreePath) -> None:
        """The content is right or has a problem; what is not whole gets no time that would make it look so."""
        with self._lock:
            self._open.discard(file)
        with self.tally.noting(path):
            if file.problem is not None:
                raise FileSystemError(file.problem)
            changed = file.fresh or file.written > 0
            if os.fstat(file.fd).st_size != file.length:
                os.ftruncate(file.fd, file.length)
                changed = True
            self._count(path, set_attributes(file.fd, file.node, fresh=changed), written=file.written)

    def _count(self, path: TreePath, outcome: Outcome, *, written: int = 0) -> None:
        for problem in outcome.problems:
            self.tally.problem(path, problem)
        self.tally.entry(changed=outcome.changed, written=written, owner_refused=outcome.owner_refused)

    def _restore_other(self, directory: int, node: Node, path: TreePath, found: os.stat_result | None) -> None:
        """A symbolic link, device, fifo or socket."""
        fresh = found is None or not self._is_reusable(directory, node, found)
        if fresh:
            self._clear(directory, node.name, found)
            _make_other(directory, node)
        with pinned(directory, node.name) as pin:
            if stat.S_IFMT(os.stat(pin).st_mode) != _FORMS[node.type]:
                raise FileSystemError("it was exchanged while it was restored")
            self._links.add(node, path, pin)
            self._count(path, set_attributes(pin, node, fresh=fresh))

    def _is_reusable(self, directory: int, node: Node, found: os.stat_result) -> bool:
        """Whether what is there is the same but for its attributes; for all of its names if it has several."""
        form = _FORMS[node.type]
        if stat.S_IFMT(found.st_mode) != form or (form in _DEVICES and found.st_rdev != node.device):
            return False
        if form == stat.S_IFLNK and os.readlink(node.name, dir_fd=directory) != node.linktarget:
            return False
        if found.st_nlink == 1:
            return True
        with pinned(directory, node.name) as pin:
            return self._links.claim(found) and has_attributes(pin, node)


def _looks_unchanged(node: Node, found: os.stat_result) -> bool:
    return (found.st_size, found.st_mtime_ns) == (node.size, node.mtime.ns)


def _open_existing(directory: int, name: str, found: os.stat_result, access: int = os.O_RDWR) -> int | None:
    """None when it may not be opened, or is not what was found any more."""
    try:
        fd = os.open(name, access | _GUARDED, dir_fd=directory)
    except PermissionError:
        return None
    if identity(os.fstat(fd)) == identity(found):
        return fd
    os.close(fd)
    return None


def _make_other(directory: int, node: Node) -> None:
    """With rights for nobody else; OSError."""
    form = _FORMS[node.type]
    if form == stat.S_IFLNK:
        os.symlink(node.linktarget, node.name, dir_fd=directory)
    else:
        os.mknod(node.name, form | 0o600, node.device if form in _DEVICES else 0, dir_fd=directory)
