"""Restoring files into a directory of this host, and the proof that they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from icebrick.engine.file.backup import FILES_NAME
from icebrick.engine.file.base import Problem
from icebrick.engine.file.hosttree import HostTree
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.engine.file.restore import restore_files
from icebrick.engine.file.select import EVERYTHING, Selection
from icebrick.engine.file.verify import verify_files
from icebrick.errors import FileSystemError, RepositoryError, UsageError
from icebrick.filesystem.record import FILE_NAME
from icebrick.kernel import sync_file_system
from icebrick.parallel import Slots
from icebrick.progress import Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node, decode_tree, go_mode


@dataclass(frozen=True, slots=True)
class FilesReceipt:
    """The proof of a restore of files: all that was asked for was compared with the backup. Sizes in bytes."""

    snapshot_id: str
    snapshot_time: datetime
    target: str
    entries: int
    files: int
    """Regular files whose content is right."""
    size: int
    """Of these."""
    mismatches: int
    """Entries that are missing or differ, in content or attributes."""
    first_mismatches: tuple[Problem, ...]
    extra: int
    """Entries that the backup has not; those in extra directories are not counted."""
    digest: str
    """The id of the root's tree: SHA-256 over all names, attributes and content below it, in the backup."""
    started: datetime
    ended: datetime

    @property
    def compared(self) -> str:
        """As `3 entries`."""
        return f"{self.entries} entries"


@dataclass(frozen=True, slots=True)
class FilesReport:
    """One restore of files, counted in entries of directories. Of `problems`, the first are in `first_problems`."""

    run_id: str
    snapshot_id: str
    target: str
    restored: int
    """Made or changed."""
    unchanged: int
    kept: int
    """Left as they were, by the rule for overwriting."""
    removed: int
    bytes_written: int
    owners_refused: int
    """Those that belong to somebody else now, as only root can give files away."""
    problems: int
    first_problems: tuple[Problem, ...]
    receipt: FilesReceipt | None = None


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """The files of a snapshot: of the file system whose root is `root`, or all that is in it when that is None."""

    snapshot: Snapshot
    store: BlobStore
    root: Node | None

    def node(self, directory: int) -> Node:
        """What the open directory shall become: of a whole snapshot, nothing is known of the root but what is in it."""
        return _as_it_is(directory, self.snapshot.tree) if self.root is None else self.root


def find_files(store: BlobStore, snapshot: Snapshot) -> StoredFiles:
    """The files of a volume, else all that is in the snapshot; CorruptDataError."""
    nodes = {node.name: node for node in decode_tree(store.load(BlobType.TREE, snapshot.tree))}
    files = nodes.get(FILES_NAME)
    is_volume = files is not None and files.type == "dir" and FILE_NAME in nodes
    return StoredFiles(snapshot, store, files if is_volume else None)


def restore_to_directory(
    stored: StoredFiles, path: Path, options: FileRestoreOptions, *, run_id: str, progress: Progress
) -> FilesReport:
    """Make the directory hold the files, durably; what goes wrong with single files is in the report.

    RepositoryError when nothing is selected; FileSystemError when the directory cannot be had, or is full.
    """
    path = path.absolute()
    with _opened(path) as directory:
        stats = restore_files(stored.node(directory), stored.store, directory, options=options, progress=progress)
        sync_file_system(directory)
    if not (stats.restored or stats.unchanged or stats.kept or stats.removed or stats.problems):
        raise RepositoryError(
            f"nothing in snapshot {stored.snapshot.id} is what was asked for",
            hint="Patterns begin at the root of the volume's file system: '/etc/hosts', and not '/files/etc/hosts'.",
        )
    return FilesReport(
        run_id=run_id,
        snapshot_id=stored.snapshot.id or "",
        target=str(path),
        restored=stats.restored,
        unchanged=stats.unchanged,
        kept=stats.kept,
        removed=stats.removed,
        bytes_written=stats.written,
        owners_refused=stats.owners_refused,
        problems=stats.problems,
        first_problems=tuple(stats.first_problems),
    )


def verify_directory(stored: StoredFiles, path: Path, selection: Selection, progress: Progress) -> FilesReceipt:
    """Read all files that are selected, and compare; differences are in the receipt."""
    path = path.absolute()
    with _opened(path) as directory:
        return compare_files(stored, directory, str(path), progress, selection=selection)


def compare_files(
    stored: StoredFiles,
    directory: int,
    target: str,
    progress: Progress,
    *,
    selection: Selection = EVERYTHING,
    slots: Slots | None = None,
) -> FilesReceipt:
    """The same of an open directory; `target` is what the receipt calls it."""
    started = datetime.now(UTC)
    stats = verify_files(
        stored.node(directory), stored.store, HostTree(directory), selection=selection, slots=slots, progress=progress
    )
    return FilesReceipt(
        snapshot_id=stored.snapshot.id or "",
        snapshot_time=stored.snapshot.time.to_datetime(),
        target=target,
        entries=stats.entries,
        files=stats.files,
        size=stats.size,
        mismatches=stats.mismatches,
        first_mismatches=tuple(stats.first_mismatches),
        extra=stats.extra,
        digest=stats.digest,
        started=started,
        ended=datetime.now(UTC),
    )


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Its descriptor; made where there is nothing, for its owner only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.mkdir(0o700)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (NotADirectoryError, FileExistsError) as error:
        raise UsageError(f"{path} is no directory", hint="Files are restored into a directory.") from error
    except OSError as error:
        raise FileSystemError(f"cannot restore to {path}: {error.strerror}") from error
    try:
        yield directory
    finally:
        os.close(directory)


def _as_it_is(directory: int, tree: bytes) -> Node:
    """A node of which the directory has all attributes already."""
    with closing(HostTree(directory).open_root()) as root:
        entry, attributes = root.entry, root.attributes()
    moment = Timestamp(entry.mtime_ns)
    node = Node("", type="dir", mode=go_mode(entry.mode), mtime=moment, atime=moment, ctime=moment, subtree=tree)
    return replace(node, uid=entry.uid, gid=entry.gid, extended_attributes=attributes)
