from __future__ import annotations

import logging
import os
import threading
from datetime import timedelta

import pytest

from icebrick.backend.base import BackendWrapper, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.blockdev import Data
from icebrick.errors import BackendUnavailableError, RepositoryError, RepositoryLockedError
from icebrick.repository.crypto import Key, new_key
from icebrick.repository.lock import GuardedBackend, Lock, hold_lock
from icebrick.repository.lockfile import LockFile, list_lock_files, process_exists, remove_locks, save_lock_file
from icebrick.repository.timestamp import Timestamp
from icebrick.testing.fakehost import FakeTime, fake_host

KEY = Key(bytes(32), bytes(16), bytes(16))
NO_WAIT = timedelta()
MINUTE = timedelta(minutes=1)


class Unavailable(BackendWrapper):
    """Fails to save or to remove, when told to."""

    failing: str = ""

    def save(self, handle: Handle, data: Data) -> None:
        if self.failing == "save":
            raise BackendUnavailableError("no answer")
        super().save(handle, data)

    def remove(self, handle: Handle) -> None:
        if self.failing == "remove":
            raise BackendUnavailableError("no answer")
        super().remove(handle)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def backend() -> Unavailable:
    return Unavailable(MemoryBackend())


def others_lock(backend: Unavailable, time: FakeTime, *, exclusive: bool, host: str = "there", pid: int = 7) -> str:
    return save_lock_file(backend, KEY, LockFile(time.now(), exclusive, host, "alice", pid)).id


def lock_ids(backend: Unavailable) -> list[str]:
    return [info.handle.name for info in backend.list_files(FileType.LOCK)]


@pytest.mark.parametrize(("mine", "other"), [(False, True), (True, False), (True, True)])
def test_a_lock_that_excludes_ours_is_respected(mine: bool, other: bool, backend: Unavailable, time: FakeTime) -> None:
    held = others_lock(backend, time, exclusive=other)
    with (
        pytest.raises(RepositoryLockedError, match="process 7 of alice on host there since 2026-11-23T06:00:00Z"),
        hold_lock(backend, KEY, fake_host(time), exclusive=mine, wait=NO_WAIT),
    ):
        pytest.fail("two locks that exclude each other")
    assert lock_ids(backend) == [held]


def test_shared_locks_live_side_by_side(backend: Unavailable, time: FakeTime) -> None:
    others_lock(backend, time, exclusive=False)
    with hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=NO_WAIT):
        assert len(lock_ids(backend)) == 2


def test_a_lock_is_stored_as_restic_does_and_goes_with_its_block(backend: Unavailable, time: FakeTime) -> None:
    with hold_lock(backend, KEY, fake_host(time), exclusive=True, wait=NO_WAIT) as lock:
        [stored] = list_lock_files(backend, KEY)
        assert (stored.id, stored.exclusive, stored.hostname, stored.pid) == (lock.id, True, "here", 100)
    assert lock_ids(backend) == []


def test_a_lock_goes_when_its_block_fails(backend: Unavailable, time: FakeTime) -> None:
    with pytest.raises(KeyboardInterrupt), hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=NO_WAIT):
        raise KeyboardInterrupt
    assert lock_ids(backend) == []


def test_a_lock_that_appears_while_ours_settles_is_respected(backend: Unavailable, time: FakeTime) -> None:
    def another_comes() -> None:
        others_lock(backend, time, exclusive=True)

    time.while_asleep = another_comes
    with (
        pytest.raises(RepositoryLockedError),
        hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=NO_WAIT),
    ):
        pytest.fail("two locks that exclude each other")
    [left] = list_lock_files(backend, KEY)
    assert left.hostname == "there"
    assert time.slept == [0.2]


def test_waiting_goes_on_until_the_other_is_gone(backend: Unavailable, time: FakeTime) -> None:
    other = others_lock(backend, time, exclusive=True)
    time.while_asleep = lambda: backend.remove(Handle(FileType.LOCK, other)) if len(time.slept) == 3 else None
    with hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=timedelta(minutes=5)):
        assert time.slept == [5, 10, 20, 0.2]


def test_waiting_ends_when_its_time_is_up(backend: Unavailable, time: FakeTime) -> None:
    others_lock(backend, time, exclusive=True)
    with (
        pytest.raises(RepositoryLockedError),
        hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=timedelta(seconds=32)),
    ):
        pytest.fail("locked")
    assert time.slept == [5, 10, 17]


def test_a_lock_of_a_dead_process_of_this_host_does_not_hinder(backend: Unavailable, time: FakeTime) -> None:
    others_lock(backend, time, exclusive=True, host="here", pid=99)
    with hold_lock(backend, KEY, fake_host(time), exclusive=True, wait=NO_WAIT) as lock:
        assert lock_ids(backend) == [lock.id]


def test_a_lock_of_a_living_process_of_this_host_hinders(backend: Unavailable, time: FakeTime) -> None:
    others_lock(backend, time, exclusive=True, host="here", pid=100)
    with (
        pytest.raises(RepositoryLockedError),
        hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=NO_WAIT),
    ):
        pytest.fail("locked")


def test_the_same_process_number_on_another_host_is_alive(backend: Unavailable, time: FakeTime) -> None:
    others_lock(backend, time, exclusive=True, host="there", pid=99)
    assert remove_locks(backend, KEY, lambda lock: lock.is_stale(fake_host(time))) == 0


def test_a_lock_is_stale_after_half_an_hour(backend: Unavailable, time: FakeTime) -> None:
    others_lock(backend, time, exclusive=True)
    time.pass_by(30 * MINUTE)
    assert remove_locks(backend, KEY, lambda lock: lock.is_stale(fake_host(time))) == 0
    time.pass_by(timedelta(seconds=1))
    assert remove_locks(backend, KEY, lambda lock: lock.is_stale(fake_host(time))) == 1


def test_an_unreadable_lock_may_be_anybody_s(backend: Unavailable, time: FakeTime) -> None:
    name = save_lock_file(backend, new_key(), LockFile(time.now(), False, "there", "alice", 7)).id
    with (
        pytest.raises(RepositoryLockedError, match=name) as caught,
        hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=NO_WAIT),
    ):
        pytest.fail("locked")
    assert "unlock --remove-all" in str(caught.value.hint)


def test_an_empty_lock_file_is_what_a_broken_upload_left(backend: Unavailable, time: FakeTime) -> None:
    backend.save(Handle(FileType.LOCK, "ab" * 32), b"")
    with hold_lock(backend, KEY, fake_host(time), exclusive=True, wait=NO_WAIT) as lock:
        assert lock.exclusive


def test_refreshing_writes_a_new_file_and_removes_the_old(backend: Unavailable, time: FakeTime) -> None:
    with hold_lock(backend, KEY, fake_host(time), exclusive=True, wait=NO_WAIT) as lock:
        time.pass_by(5 * MINUTE)
        assert lock.refresh()
        [stored] = list_lock_files(backend, KEY)
        assert (stored.id, stored.time, stored.exclusive) == (lock.id, time.now(), True)


def test_an_old_file_that_cannot_be_removed_goes_with_the_next(backend: Unavailable, time: FakeTime) -> None:
    with hold_lock(backend, KEY, fake_host(time), exclusive=True, wait=NO_WAIT) as lock:
        backend.failing = "remove"
        time.pass_by(5 * MINUTE)
        assert not lock.refresh()
        assert len(lock_ids(backend)) == 2
        backend.failing = ""
        time.pass_by(MINUTE)
        assert lock.refresh()
        assert lock_ids(backend) == [lock.id]


def test_work_may_go_on_as_long_as_the_lock_is_fresh(backend: Unavailable, time: FakeTime) -> None:
    lock = Lock(backend, KEY, fake_host(time), exclusive=False)
    lock.acquire()
    for _ in range(10):
        time.pass_by(24 * MINUTE)
        lock.check()
        assert lock.refresh()


def test_work_must_stop_when_the_lock_could_not_be_refreshed(backend: Unavailable, time: FakeTime) -> None:
    lock = Lock(backend, KEY, fake_host(time), exclusive=False)
    lock.acquire()
    backend.failing = "save"
    time.pass_by(25 * MINUTE)
    assert not lock.refresh()
    lock.check()
    time.pass_by(MINUTE)
    with pytest.raises(RepositoryError, match="lock of mem: was not refreshed for 26 minutes"):
        lock.check()


def test_an_expired_lock_cannot_be_revived(backend: Unavailable, time: FakeTime) -> None:
    lock = Lock(backend, KEY, fake_host(time), exclusive=False)
    lock.acquire()
    time.pass_by(26 * MINUTE)
    assert not lock.refresh()
    with pytest.raises(RepositoryError, match="not refreshed"):
        lock.check()


def test_a_lock_that_cannot_be_removed_is_a_warning(
    backend: Unavailable, time: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=NO_WAIT):
        backend.failing = "remove"
    assert "not removed: no answer" in caplog.text


def test_no_thread_outlives_the_block(backend: Unavailable, time: FakeTime) -> None:
    before = threading.active_count()
    with hold_lock(backend, KEY, fake_host(time), exclusive=False, wait=NO_WAIT):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_nothing_but_locks_is_changed_under_an_expired_lock(time: FakeTime) -> None:
    backend = GuardedBackend(MemoryBackend())
    lock = Lock(backend, KEY, fake_host(time), exclusive=False)
    lock.acquire()
    pack, old_lock = Handle(FileType.PACK, "ab" * 32), Handle(FileType.LOCK, "cd" * 32)
    with backend.guarded_by(lock):
        backend.save(pack, b"kept")
        time.pass_by(26 * MINUTE)
        for change in (lambda: backend.save(pack, b"new"), lambda: backend.remove(pack)):
            with pytest.raises(RepositoryError, match="not refreshed"):
                change()
        backend.remove(old_lock)
    assert backend.load(pack) == b"kept"
    backend.remove(pack)


def test_this_process_exists_and_groups_of_processes_do_not() -> None:
    assert process_exists(os.getpid())
    assert process_exists(1)
    assert not process_exists(0)
    assert not process_exists(-1)
    assert not process_exists(1 << 70)


def test_a_lock_s_time_may_carry_another_offset(backend: Unavailable, time: FakeTime) -> None:
    save_lock_file(backend, KEY, LockFile(Timestamp(time.now().ns, 120), False, "there", "alice", 7))
    assert remove_locks(backend, KEY, lambda lock: lock.is_stale(fake_host(time))) == 0
