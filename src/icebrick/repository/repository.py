"""A repository that is open: its snapshots, keys and locks, and the way to its blobs.

What is stored is durable in this order: packs, then the index that names them, then the snapshot that needs them.
Whoever reads lists snapshots first and loads the index after, and so finds every blob of every snapshot it saw.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.errors import (
    CorruptDataError,
    FileMissingError,
    NoRepositoryError,
    RepositoryError,
    SnapshotMissingError,
    UsageError,
)
from icebrick.parallel import Workers
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blobstore import BlobStore, load_blobstore
from icebrick.repository.configfile import Config, config_exists, load_config, new_config, save_config
from icebrick.repository.crypto import Key, new_key
from icebrick.repository.keyfile import (
    KeyFile,
    ScryptParameters,
    create_key,
    list_key_files,
    load_key_file,
    open_key,
    open_key_file,
)
from icebrick.repository.lock import GuardedBackend, Lock, hold_lock
from icebrick.repository.lockfile import Host, remove_locks, this_host
from icebrick.repository.snapshot import Snapshot, decode_snapshot, encode_snapshot
from icebrick.repository.unpacked import load_unpacked, save_unpacked
from icebrick.secret import Secret

log = logging.getLogger(__name__)

LATEST = "latest"
_PREFIX = re.compile("[0-9a-f]{1,64}")
_NO_WAIT = timedelta()


class Repository:
    """An open repository. Methods may be called from any thread."""

    def __init__(self, backend: Backend, key: Key, config: Config, *, key_id: str, host: Host) -> None:
        self.backend = GuardedBackend(backend)
        self.key = key
        self.config = config
        self.key_id = key_id
        self._host = host

    @property
    def id(self) -> str:
        return self.config.id

    def snapshots(self) -> Iterator[Snapshot]:
        """By time, oldest first. A damaged one does not hide the others: it is left out, with a warning."""
        found: list[Snapshot] = []

        def load(name: str) -> None:
            try:
                found.append(self.load_snapshot(name))
            except SnapshotMissingError:
                log.debug("snapshot=%s removed since it was listed", name)
            except CorruptDataError as error:
                log.warning("snapshot=%s left out: %s", name, error)

        with Workers(load, threads=self.backend.connections, name="snapshots") as workers:
            for name in self.snapshot_ids():
                workers.put(name)
        return iter(sorted(found, key=lambda snapshot: (snapshot.time, snapshot.id)))

    def snapshot_ids(self) -> list[str]:
        """Of every snapshot file, readable or not, sorted."""
        return sorted(info.handle.name for info in self.backend.list_files(FileType.SNAPSHOT))

    def load_snapshot(self, snapshot_id: str) -> Snapshot:
        """By its whole id; SnapshotMissingError, or CorruptDataError that names the file."""
        handle = Handle(FileType.SNAPSHOT, snapshot_id)
        try:
            data = load_unpacked(self.backend, self.key, handle)
        except FileMissingError as error:
            raise SnapshotMissingError(f"no snapshot {snapshot_id} in {self.backend.location}") from error
        try:
            return decode_snapshot(data, snapshot_id)
        except CorruptDataError as error:
            raise CorruptDataError(f"{handle} is damaged: {error}") from error

    def find_snapshot(self, prefix: str) -> Snapshot:
        """The one whose id begins with `prefix`, or the newest for "latest"; else SnapshotMissingError."""
        if prefix == LATEST:
            *_, newest = (None, *self.snapshots())
            if newest is None:
                raise SnapshotMissingError(f"no snapshots in {self.backend.location}")
            return newest
        if not _PREFIX.fullmatch(prefix):
            raise SnapshotMissingError(f"{prefix!r} is not the beginning of a snapshot's id")
        matches = [name for name in self.snapshot_ids() if name.startswith(prefix)]
        if not matches:
            raise SnapshotMissingError(f"no snapshot {prefix} in {self.backend.location}")
        if len(matches) > 1:
            raise SnapshotMissingError(f"{len(matches)} snapshots begin with {prefix}")
        return self.load_snapshot(matches[0])

    def save_snapshot(self, snapshot: Snapshot) -> str:
        """Its id. Everything it needs is stored and indexed before."""
        return save_unpacked(self.backend, self.key, FileType.SNAPSHOT, encode_snapshot(snapshot))

    def remove_snapshot(self, snapshot_id: str) -> None:
        """Its data stays until a prune. It was gone already: no error."""
        self.backend.remove(Handle(FileType.SNAPSHOT, snapshot_id))

    @contextmanager
    def lock(self, *, exclusive: bool = False, wait: timedelta = _NO_WAIT) -> Iterator[Lock]:
        """Held for the block. Should it be lost, every further change of the repository is refused."""
        with (
            hold_lock(self.backend.inner, self.key, self._host, exclusive=exclusive, wait=wait) as lock,
            self.backend.guarded_by(lock),
        ):
            yield lock

    def remove_stale_locks(self) -> int:
        """Those of processes that are gone from this host, and any not refreshed for 30 minutes. Returns how many."""
        return remove_locks(self.backend, self.key, lambda lock: lock.is_stale(self._host))

    def remove_all_locks(self) -> int:
        """Whoever holds them, readable or not. Returns how many."""
        locks = list(self.backend.list_files(FileType.LOCK))
        for info in locks:
            self.backend.remove(info.handle)
        return len(locks)

    def load_index(self, progress: Progress = NO_PROGRESS) -> BlobStore:
        """The way to the blobs. Call it after listing the snapshots it shall serve."""
        return load_blobstore(self.backend, self.key, progress)

    def keys(self) -> list[KeyFile]:
        """By id; damaged key files are left out with a warning."""
        return list(list_key_files(self.backend))

    def add_key(self, password: Secret, *, parameters: ScryptParameters | None = None) -> KeyFile:
        """Let `password` open the repository too."""
        return create_key(self.backend, self.key, password, parameters=parameters)

    def remove_key(self, key_id: str) -> None:
        """UsageError for the key in use; RepositoryError when there is no such key."""
        if key_id == self.key_id:
            raise UsageError(f"key {key_id} is the one in use", hint="Open the repository with another password first.")
        handle = Handle(FileType.KEY, key_id)
        try:
            self.backend.stat(handle)
        except FileMissingError as error:
            raise RepositoryError(f"no key {key_id} in {self.backend.location}") from error
        self.backend.remove(handle)

    def change_password(self, password: Secret, *, parameters: ScryptParameters | None = None) -> KeyFile:
        """Replace the key in use by one that opens with `password`."""
        replacement = self.add_key(password, parameters=parameters)
        if open_key_file(load_key_file(self.backend, replacement.id), password) != self.key:
            raise CorruptDataError(f"keys/{replacement.id} does not open as it was stored; the old key was kept")
        old, self.key_id = self.key_id, replacement.id
        self.backend.remove(Handle(FileType.KEY, old))
        return replacement


def open_repository(backend: Backend, password: Secret, *, host: Host | None = None) -> Repository:
    """NoRepositoryError, WrongPasswordError, CorruptDataError; RepositoryError when the version is not 2."""
    if not config_exists(backend):
        raise NoRepositoryError(f"no repository at {backend.location}")
    key_file, key = open_key(backend, password)
    return Repository(backend, key, load_config(backend, key), key_id=key_file.id, host=host or this_host())


def init_repository(
    backend: Backend, password: Secret, *, parameters: ScryptParameters | None = None, host: Host | None = None
) -> Repository:
    """A new repository; RepositoryError, and nothing written, where there is one or the rest of one."""
    if config_exists(backend):
        raise RepositoryError(f"there is a repository at {backend.location} already")
    for file_type in (FileType.KEY, FileType.SNAPSHOT):
        for info in backend.list_files(file_type):
            raise RepositoryError(
                f"{info.handle} is in {backend.location} already",
                hint="It is what remains of a repository, or of an attempt to create one.",
            )
    backend.create()
    key, config = new_key(), new_config()
    key_file = create_key(backend, key, password, parameters=parameters)
    save_config(backend, key, config)
    return Repository(backend, key, config, key_id=key_file.id, host=host or this_host())
