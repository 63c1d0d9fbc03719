"""Holding a lock: taken, kept fresh and given back.

Shared locks exclude an exclusive one, an exclusive lock excludes all. Without atomic operations in the storage this
works by looking twice: nobody in the way, write the own lock, wait until others must see it, look again.
Source: restic's design document, "Locks".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from icebrick.backend.base import Backend, BackendWrapper, FileType, Handle
from icebrick.blockdev import Data
from icebrick.errors import BackendError, RepositoryError, RepositoryLockedError
from icebrick.repository.crypto import Key
from icebrick.repository.lockfile import Host, LockFile, age, list_lock_files, remove_locks, save_lock_file

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.2
REFRESH_INTERVAL = timedelta(minutes=5)
REFRESH_RETRY = timedelta(minutes=1)
LAST_REFRESH = timedelta(minutes=25)
"""Older than this we stop: from 30 minutes on others may take the lock for dead, and what is under way needs time."""
_FIRST_DELAY, _LONGEST_DELAY = 5.0, 60.0  # seconds between two attempts to get a lock that another holds


class Lock:
    """A lock this process holds. Only the refresher's thread changes it while that runs."""

    def __init__(self, backend: Backend, key: Key, host: Host, *, exclusive: bool) -> None:
        self.exclusive = exclusive
        self._backend = backend
        self._key = key
        self._host = host
        self._refreshed = host.now()
        self._ids: list[str] = []  # more than one when an old file could not be removed

    @property
    def id(self) -> str:
        """The newest lock file's name."""
        return self._ids[-1]

    def check(self) -> None:
        """RepositoryError when the lock may have been taken for dead: nothing may be changed any more."""
        if not self._is_expired():
            return
        minutes = age(self._refreshed, self._host.now()) // timedelta(minutes=1)
        raise RepositoryError(
            f"lock of {self._backend.location} was not refreshed for {minutes} minutes",
            hint="Another process may have taken it for dead. Run the command again.",
        )

    def acquire(self) -> None:
        """RepositoryLockedError says who is in the way; nothing is left behind then."""
        self._refuse_conflict()
        self._save()
        self._host.sleep(SETTLE_SECONDS)
        try:
            self._refuse_conflict()
        except RepositoryLockedError:
            self.release()
            raise

    def refresh(self) -> bool:
        """Write a new file and remove the old; False when that failed. An expired lock stays expired."""
        if self._is_expired():
            return False
        try:
            self._save()
            self._remove(self._ids[:-1])
        except BackendError as error:
            log.warning("lock=%s not refreshed: %s", self.id, error)
            return False
        return True

    def release(self) -> None:
        """Never fails: a file that stays is stale as soon as this process has ended."""
        try:
            self._remove(list(self._ids))
        except BackendError as error:
            log.warning("lock=%s not removed: %s", self.id, error)

    def _is_expired(self) -> bool:
        return age(self._refreshed, self._host.now()) > LAST_REFRESH

    def _save(self) -> None:
        host, moment = self._host, self._host.now()
        lock = LockFile(moment, self.exclusive, host.name, host.username, host.pid, host.uid, host.gid)
        self._ids.append(save_lock_file(self._backend, self._key, lock).id)
        self._refreshed = moment

    def _remove(self, ids: list[str]) -> None:
        for lock_id in ids:
            self._backend.remove(Handle(FileType.LOCK, lock_id))
            self._ids.remove(lock_id)

    def _refuse_conflict(self) -> None:
        for other in list_lock_files(self._backend, self._key):
            if other.id not in self._ids and (self.exclusive or other.exclusive):
                raise RepositoryLockedError(f"repository at {self._backend.location} is {other}")


@contextmanager
def hold_lock(backend: Backend, key: Key, host: Host, *, exclusive: bool, wait: timedelta) -> Iterator[Lock]:
    """A lock for the block, refreshed in the background; waits for others up to `wait`, else RepositoryLockedError."""
    remove_locks(backend, key, lambda lock: lock.is_dead(host))
    lock = Lock(backend, key, host, exclusive=exclusive)
    try:
        _acquire(lock, host, wait)
        with _kept_fresh(lock):
            yield lock
    finally:
        lock.release()


def _acquire(lock: Lock, host: Host, wait: timedelta) -> None:
    start, delay = host.now(), _FIRST_DELAY
    while True:
        try:
            return lock.acquire()
        except RepositoryLockedError as error:
            left = (wait - age(start, host.now())).total_seconds()
            if left <= 0:
                raise
            log.info("waiting %.0f s: %s", min(delay, left), error)
        host.sleep(min(delay, left))
        delay = min(delay * 2, _LONGEST_DELAY)


@contextmanager
def _kept_fresh(lock: Lock) -> Iterator[None]:
    stop = threading.Event()

    def refresh_until_stopped() -> None:
        pause = REFRESH_INTERVAL
        while not stop.wait(pause.total_seconds()):
            pause = REFRESH_INTERVAL if lock.refresh() else REFRESH_RETRY

    refresher = threading.Thread(target=refresh_until_stopped, name="lock-refresher")
    refresher.start()
    try:
        yield
    finally:
        stop.set()
        refresher.join()


class GuardedBackend(BackendWrapper):
    """Changes nothing once a lock it is used under has expired, so that no writer can forget to ask."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._locks: tuple[Lock, ...] = ()  # replaced as a whole, hence safe to read from any thread
        self._replacing = threading.Lock()  # guards the replacing of _locks

    @contextmanager
    def guarded_by(self, lock: Lock) -> Iterator[None]:
        with self._replacing:
            self._locks = (*self._locks, lock)
        try:
            yield
        finally:
            with self._replacing:
                self._locks = tuple(other for other in self._locks if other is not lock)

    def save(self, handle: Handle, data: Data) -> None:
        self._check(handle)
        super().save(handle, data)

    def remove(self, handle: Handle) -> None:
        self._check(handle)
        super().remove(handle)

    def _check(self, handle: Handle) -> None:
        if handle.type is FileType.LOCK:
            return
        for lock in self._locks:
            lock.check()
