from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import (
    CorruptDataError,
    NoRepositoryError,
    RepositoryError,
    RepositoryLockedError,
    SnapshotMissingError,
    UsageError,
    WrongPasswordError,
)
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.keyfile import ScryptParameters
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import encode_tree
from icebrick.repository.unpacked import save_unpacked
from icebrick.secret import Secret
from icebrick.testing.fakehost import FakeTime, fake_host

CHEAP = ScryptParameters(n=2)
EMPTY_TREE = encode_tree([])
PASSWORD, OTHER = Secret("geheim"), Secret("anders")


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def repository(backend: MemoryBackend, time: FakeTime) -> Repository:
    repository = init_repository(backend, PASSWORD, parameters=CHEAP, host=fake_host(time))
    with repository.load_index().writer() as writer:
        writer.save(BlobType.TREE, EMPTY_TREE)
    return repository


def snapshot(second: int) -> Snapshot:
    return Snapshot(Timestamp(second * 10**9), digest(EMPTY_TREE), ("/v",), "host")


def test_a_new_repository_opens_with_its_password(repository: Repository, backend: MemoryBackend) -> None:
    opened = open_repository(backend, PASSWORD)
    assert (opened.id, opened.key, opened.key_id) == (repository.id, repository.key, repository.key_id)


def test_where_nothing_is_there_is_no_repository(backend: MemoryBackend) -> None:
    with pytest.raises(NoRepositoryError):
        open_repository(backend, PASSWORD)


def test_a_wrong_password_opens_nothing(repository: Repository, backend: MemoryBackend) -> None:
    with pytest.raises(WrongPasswordError):
        open_repository(backend, OTHER)


def test_a_repository_is_not_made_twice(repository: Repository, backend: MemoryBackend) -> None:
    with pytest.raises(RepositoryError, match="there is a repository"):
        init_repository(backend, PASSWORD, parameters=CHEAP)
    assert len(repository.keys()) == 1


def test_a_repository_is_not_made_over_the_rest_of_one(repository: Repository, backend: MemoryBackend) -> None:
    backend.remove(Handle(FileType.CONFIG))
    with pytest.raises(RepositoryError, match=f"keys/{repository.key_id} is in mem: already"):
        init_repository(backend, PASSWORD, parameters=CHEAP)


def test_a_snapshot_that_was_saved_is_found_by_its_id(repository: Repository) -> None:
    snapshot_id = repository.save_snapshot(snapshot(1))
    assert repository.load_snapshot(snapshot_id) == replace(snapshot(1), id=snapshot_id)


def test_snapshots_come_oldest_first(repository: Repository) -> None:
    for second in (5, 1, 9, 3):
        repository.save_snapshot(snapshot(second))
    assert [found.time.ns // 10**9 for found in repository.snapshots()] == [1, 3, 5, 9]


@pytest.mark.damages_repository("the snapshots are noise")
def test_a_damaged_snapshot_does_not_hide_the_others(
    repository: Repository, backend: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, whole = (repository.save_snapshot(snapshot(second)) for second in (1, 2))
    backend.save(Handle(FileType.SNAPSHOT, damaged), b"x")
    with caplog.at_level(logging.WARNING):
        assert [found.id for found in repository.snapshots()] == [whole]
    assert damaged in caplog.text


@pytest.mark.damages_repository("the snapshots are noise")
def test_a_snapshot_that_is_no_snapshot_is_corrupt_and_named(repository: Repository, backend: MemoryBackend) -> None:
    name = save_unpacked(backend, repository.key, FileType.SNAPSHOT, b"{}")
    with pytest.raises(CorruptDataError, match=f"snapshots/{name} is damaged: snapshot without a tree"):
        repository.load_snapshot(name)


def test_the_beginning_of_an_id_is_enough_when_it_is_the_only_one(repository: Repository) -> None:
    snapshot_id = repository.save_snapshot(snapshot(1))
    assert repository.find_snapshot(snapshot_id[:1]).id == snapshot_id


@pytest.mark.damages_repository("the snapshots are noise")
def test_the_beginning_of_two_ids_finds_neither(repository: Repository, backend: MemoryBackend) -> None:
    for name in ("ab" * 32, "ac" * 32):
        backend.save(Handle(FileType.SNAPSHOT, name), b"")
    with pytest.raises(SnapshotMissingError, match="2 snapshots begin with a"):
        repository.find_snapshot("a")


@pytest.mark.parametrize("prefix", ["", "xyz", "f" * 65, "../", "ffff", "latest"])
def test_what_matches_no_snapshot_finds_none(repository: Repository, prefix: str) -> None:
    with pytest.raises(SnapshotMissingError):
        repository.find_snapshot(prefix)


def test_latest_is_the_newest_by_time(repository: Repository) -> None:
    for second in (5, 9, 3):
        repository.save_snapshot(snapshot(second))
    assert repository.find_snapshot("latest").time == Timestamp(9 * 10**9)


def test_a_removed_snapshot_is_gone(repository: Repository) -> None:
    snapshot_id = repository.save_snapshot(snapshot(1))
    repository.remove_snapshot(snapshot_id)
    with pytest.raises(SnapshotMissingError, match=snapshot_id):
        repository.load_snapshot(snapshot_id)


def test_an_added_key_opens_the_repository(repository: Repository, backend: MemoryBackend) -> None:
    added = repository.add_key(OTHER, parameters=CHEAP)
    assert open_repository(backend, OTHER).key_id == added.id
    keys = repository.keys()
    assert {key.id for key in keys} == {added.id, repository.key_id}


def test_a_removed_key_opens_nothing(repository: Repository, backend: MemoryBackend) -> None:
    repository.remove_key(repository.add_key(OTHER, parameters=CHEAP).id)
    with pytest.raises(WrongPasswordError):
        open_repository(backend, OTHER)


def test_the_key_in_use_is_not_removed(repository: Repository, backend: MemoryBackend) -> None:
    with pytest.raises(UsageError, match=repository.key_id):
        repository.remove_key(repository.key_id)
    assert open_repository(backend, PASSWORD).id == repository.id


def test_removing_a_key_that_is_not_there_is_an_error(repository: Repository) -> None:
    with pytest.raises(RepositoryError, match="no key"):
        repository.remove_key("ab" * 32)


def test_a_changed_password_replaces_the_old(repository: Repository, backend: MemoryBackend) -> None:
    changed = repository.change_password(OTHER, parameters=CHEAP)
    keys = repository.keys()
    assert [key.id for key in keys] == [changed.id]
    assert open_repository(backend, OTHER).key == repository.key
    with pytest.raises(UsageError):
        repository.remove_key(changed.id)


def test_nothing_is_stored_once_the_lock_is_lost(repository: Repository, time: FakeTime) -> None:
    with repository.lock():
        time.pass_by(timedelta(minutes=26))
        with pytest.raises(RepositoryError, match="not refreshed"):
            repository.save_snapshot(snapshot(1))
    assert repository.snapshot_ids() == []


def test_two_uses_that_exclude_each_other_meet_at_the_lock(
    repository: Repository, backend: MemoryBackend, time: FakeTime
) -> None:
    elsewhere = open_repository(backend, PASSWORD, host=fake_host(time, name="there"))
    with repository.lock(exclusive=True), pytest.raises(RepositoryLockedError), elsewhere.lock():
        pytest.fail("locked")


def test_stale_locks_of_any_host_are_removed_on_request(
    repository: Repository, backend: MemoryBackend, time: FakeTime
) -> None:
    elsewhere = open_repository(backend, PASSWORD, host=fake_host(time, name="there"))
    with elsewhere.lock(exclusive=True):
        assert repository.remove_stale_locks() == 0
        time.pass_by(timedelta(minutes=31))
        assert repository.remove_stale_locks() == 1
        with repository.lock():
            pass


def test_neither_key_nor_password_is_shown(repository: Repository) -> None:
    assert "geheim" not in repr(vars(repository))
    assert repr(repository.key.encrypt) not in repr(repository.key)
