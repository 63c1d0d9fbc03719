"""Lock files: who uses the repository, on which host, and since when."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from icebrick.backend.base import Backend, FileInfo, FileType, Handle, ReadBackend
from icebrick.errors import CorruptDataError, FileMissingError, RepositoryLockedError
from icebrick.repository import gojson
from icebrick.repository.crypto import Key
from icebrick.repository.timestamp import NANOSECONDS, Timestamp, now
from icebrick.repository.unpacked import load_unpacked, save_unpacked
from icebrick.repository.whoami import current_user

log = logging.getLogger(__name__)

STALE_AGE = timedelta(minutes=30)
"""A lock not refreshed for so long belongs to nobody, as in restic."""


@dataclass(frozen=True, slots=True)
class Host:
    """What locks need of this host and process. Tests bring their own time."""

    name: str
    pid: int
    username: str
    uid: int
    gid: int
    now: Callable[[], Timestamp]
    sleep: Callable[[float], None]
    process_exists: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class LockFile:
    """One lock as stored; `time` is when it was made or last refreshed, `id` the file's name."""

    time: Timestamp
    exclusive: bool
    hostname: str
    username: str
    pid: int
    uid: int = 0
    gid: int = 0
    id: str = ""

    def __str__(self) -> str:
        kind = "exclusively " if self.exclusive else ""
        owner = f"process {self.pid} of {self.username or 'an unknown user'} on host {self.hostname}"
        return f"locked {kind}by {owner} since {self.time} (lock {self.id[:8]})"

    def is_dead(self, host: Host) -> bool:
        """Whether its process ran on this host and is gone."""
        return self.hostname == host.name and not host.process_exists(self.pid)

    def is_stale(self, host: Host) -> bool:
        return self.is_dead(host) or age(self.time, host.now()) > STALE_AGE


def this_host() -> Host:
    return Host(
        name=socket.gethostname(),
        pid=os.getpid(),
        username=current_user(),
        uid=os.getuid(),
        gid=os.getgid(),
        now=now,
        sleep=time.sleep,
        process_exists=process_exists,
    )


def process_exists(pid: int) -> bool:
    if pid <= 0:
        return False  # to kill(2) these mean groups of processes
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def age(since: Timestamp, until: Timestamp) -> timedelta:
    return timedelta(seconds=(until.ns - since.ns) // NANOSECONDS)


def save_lock_file(backend: Backend, key: Key, lock: LockFile) -> LockFile:
    """Stored, with its new id."""
    fields: dict[str, gojson.JsonValue] = {
        "time": str(lock.time),
        "exclusive": lock.exclusive,
        "hostname": lock.hostname,
        "username": lock.username,
        "pid": lock.pid,
    }
    fields |= {name: value for name, value in (("uid", lock.uid), ("gid", lock.gid)) if value}
    return replace(lock, id=save_unpacked(backend, key, FileType.LOCK, gojson.encode(fields)))


def list_lock_files(backend: ReadBackend, key: Key) -> Iterator[LockFile]:
    """Every lock there is; RepositoryLockedError when one cannot be read, as nobody knows what it excludes."""
    for info in backend.list_files(FileType.LOCK):
        try:
            lock = load_lock_file(backend, key, info)
        except CorruptDataError as error:
            raise RepositoryLockedError(
                f"{error}, so the repository may be in use",
                hint="When nothing uses the repository, 'icebrick unlock --remove-all' removes it.",
            ) from error
        if lock is not None:
            yield lock


def remove_locks(backend: Backend, key: Key, condition: Callable[[LockFile], bool]) -> int:
    """Remove the locks for which `condition` holds; unreadable ones stay. Returns how many."""
    removed = 0
    for info in list(backend.list_files(FileType.LOCK)):
        try:
            lock = load_lock_file(backend, key, info)
        except CorruptDataError as error:
            log.warning("lock=%s kept: %s", info.handle.name, error)
            continue
        if lock is not None and condition(lock):
            backend.remove(info.handle)
            log.info("lock=%s removed, it was %s", lock.id, lock)
            removed += 1
    return removed


def load_lock_file(backend: ReadBackend, key: Key, info: FileInfo) -> LockFile | None:
    """None when it is gone, or empty, as some media leave it when an upload breaks off; CorruptDataError."""
    if not info.size:
        return None
    handle = info.handle
    try:
        return _decode(load_unpacked(backend, key, handle), handle)
    except FileMissingError:
        return None


def _decode(data: bytes, handle: Handle) -> LockFile:
    try:
        fields = gojson.parse_object(data)
        return LockFile(
            fields.time("time"),
            fields.flag("exclusive"),
            fields.text("hostname"),
            fields.text("username"),
            fields.unsigned("pid"),
            fields.unsigned("uid"),
            fields.unsigned("gid"),
            handle.name,
        )
    except CorruptDataError as error:
        raise CorruptDataError(f"{handle} is damaged: {error}") from error
