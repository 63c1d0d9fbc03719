"""What the mounted directories hold, by path."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from icebrick.errors import BackendError, CorruptDataError, SnapshotMissingError
from icebrick.mount.blobs import Blobs
from icebrick.mount.catalogue import Catalogue, Shelf
from icebrick.mount.files import OpenFile
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp, now
from icebrick.repository.tree import MODE_DIR, MODE_SYMLINK, Node

log = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0
"""Snapshots are listed anew not more often than that."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in the mounted tree.

    `inode` is the same for all names of one file of a snapshot, else its own. `snapshot` is the inode of the root of
    the snapshot that it is in, None on a shelf: then a directory has its content in `shelf`.
    """

    node: Node
    inode: int
    snapshot: int | None
    shelf: Shelf | None = None


class View:
    """Every method may be called from any thread. OSError for what is not there; our own errors for damage."""

    def __init__(self, repository: Repository, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._repository, self._clock = repository, clock
        self._key, self._made = secrets.token_bytes(16), now()
        self._catalogue = Catalogue()
        self._listing = threading.Lock()  # guards the catalogue, and the replacing of the following
        self._listed = clock()
        self._snapshots = list(repository.snapshots())
        self._shelf = self._catalogue.shelve(self._snapshots)
        self.blobs = Blobs(repository.load_index)

    def find(self, path: str) -> Entry:
        """FileNotFoundError, NotADirectoryError. What is on a shelf is looked up in a list that is not old."""
        steps = [step for step in path.split("/") if step]
        try:
            entry = self._walk(steps)
        except FileNotFoundError:
            if not self._refresh():
                raise
            return self._walk(steps)
        return self._walk(steps) if entry.snapshot is None and self._refresh() else entry

    def list(self, path: str) -> Iterator[Entry]:
        """The entries of a directory; NotADirectoryError."""
        directory = self.find(path)
        if directory.shelf is not None:
            for name, there in directory.shelf.items():
                yield self._on_shelf(directory, name, there)
        else:
            for node in self._nodes(directory).values():
                yield self._in_snapshot(directory, node)

    def open(self, path: str) -> OpenFile:
        """A regular file, else OSError; CorruptDataError when not all of it is there."""
        node = self.find(path).node
        if node.type != "file":
            code = errno.EISDIR if node.type == "dir" else errno.EINVAL
            raise OSError(code, os.strerror(code))
        return OpenFile(node, self.blobs)

    def _walk(self, steps: Sequence[str]) -> Entry:
        entry = Entry(_directory("", self._made), self._inode("root"), None, self._shelf)
        for step in steps:
            if entry.shelf is not None:
                if step not in entry.shelf:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                entry = self._on_shelf(entry, step, entry.shelf[step])
            else:
                nodes = self._nodes(entry)
                if step not in nodes:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                entry = self._in_snapshot(entry, nodes[step])
        return entry

    def _on_shelf(self, shelf: Entry, name: str, there: Shelf | Snapshot | str) -> Entry:
        inode = self._inode("in", shelf.inode, name)
        match there:
            case str():
                node = Node(name, type="symlink", mode=MODE_SYMLINK | 0o777, linktarget=there)
                return Entry(_ours(node, self._made), inode, None)
            case Snapshot():
                return Entry(_directory(name, there.time, there.tree), inode, inode)
            case _:
                return Entry(_directory(name, self._made), inode, None, there)

    def _in_snapshot(self, directory: Entry, node: Node) -> Entry:
        # restic does not keep the number of links of fifos: it is 0
        if node.links != 1 and node.inode and node.type != "dir":
            inode = self._inode("link", directory.snapshot, node.device_id, node.inode)
        else:
            inode = self._inode("in", directory.inode, node.name)
        return Entry(node, inode, directory.snapshot)

    def _nodes(self, directory: Entry) -> dict[str, Node]:
        node = directory.node
        if node.type != "dir" or directory.snapshot is None:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if node.subtree is None:
            raise CorruptDataError(f"the backup names no tree for the directory {node.name!r}")
        return self.blobs.directory(node.subtree)

    def _inode(self, *parts: object) -> int:
        """From a keyed hash: nobody can choose names so that two files look like one."""
        text = "\0".join(map(str, parts))
        found = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=self._key, digest_size=8).digest()
        return int.from_bytes(found, "little") or 1

    def _refresh(self) -> bool:
        """List the snapshots, if that was long ago; whether they are others than before."""
        if self._clock() - self._listed < REFRESH_SECONDS or not self._listing.acquire(blocking=False):
            return False
        try:
            self._listed = self._clock()
            return self._list_anew()
        except BackendError as error:
            log.warning("snapshots not listed anew: %s", error)
            return False
        finally:
            self._listing.release()

    def _list_anew(self) -> bool:
        ids = set(self._repository.snapshot_ids())
        kept = [snapshot for snapshot in self._snapshots if snapshot.id in ids]
        new = list(self._load(sorted(ids - {snapshot.id for snapshot in kept})))
        if not new and len(kept) == len(self._snapshots):
            return False
        if new:
            self.blobs.expect_new()
        self._snapshots = sorted([*kept, *new], key=lambda snapshot: (snapshot.time, snapshot.id))
        self._shelf = self._catalogue.shelve(self._snapshots)
        log.info("snapshots=%d new=%d", len(self._snapshots), len(new))
        return True

    def _load(self, ids: Sequence[str]) -> Iterator[Snapshot]:
        for snapshot_id in ids:
            try:
                yield self._repository.load_snapshot(snapshot_id)
            except (CorruptDataError, SnapshotMissingError) as error:
                log.warning("snapshot=%s left out: %s", snapshot_id, error)


def _directory(name: str, moment: Timestamp, tree: bytes | None = None) -> Node:
    return _ours(Node(name, type="dir", mode=MODE_DIR | 0o555, subtree=tree), moment)


def _ours(node: Node, moment: Timestamp) -> Node:
    """Of whoever mounts."""
    return replace(node, uid=os.getuid(), gid=os.getgid(), mtime=moment, atime=moment, ctime=moment)
