"""What a directory as a repository does beyond the contract: modes, durability, errors, remnants."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.local import LocalBackend
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    StorageFullError,
)

PACK = Handle(FileType.PACK, "ab" + "0" * 62)
OTHER = Handle(FileType.PACK, "ab" + "1" * 62)
CONFIG = Handle(FileType.CONFIG)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "repository"


@pytest.fixture
def backend(path):
    backend = LocalBackend(path)
    backend.create()
    return backend


@pytest.fixture
def small_disk(root, tmp_path):
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "icebrick-test", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def files_below(path):
    return {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()}


def failing(number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


# Layout and modes


def test_create_makes_restics_directories_and_the_root_above_them(tmp_path):
    LocalBackend(tmp_path / "new" / "repository").create()
    made = {one.name for one in (tmp_path / "new" / "repository").iterdir()}
    assert made == {"keys", "locks", "snapshots", "index", "data"}
    assert len(list((tmp_path / "new" / "repository" / "data").iterdir())) == 256


def test_files_are_readable_by_their_owner_alone_and_directories_open_to_nobody_else(backend, path):
    backend.save(PACK, b"pack")
    assert stat.S_IMODE((path / "data" / "ab" / PACK.name).stat().st_mode) == 0o400
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.rglob("*") if one.is_dir()} == {0o700}


def test_a_save_makes_missing_directories_below_the_root(tmp_path):
    LocalBackend(tmp_path).save(PACK, b"pack")
    assert (tmp_path / "data" / "ab" / PACK.name).read_bytes() == b"pack"


def test_a_save_never_makes_the_root_as_its_file_system_may_just_not_be_mounted(tmp_path):
    with pytest.raises(BackendError, match=str(tmp_path / "gone")) as caught:
        LocalBackend(tmp_path / "gone").save(PACK, b"pack")
    assert not caught.value.retryable
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_no_directory_is_an_error_with_its_path(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    backend = LocalBackend(tmp_path / "file")
    with pytest.raises(BackendError, match=str(tmp_path / "file")):
        backend.create()
    with pytest.raises(FileMissingError, match=str(tmp_path / "file")):
        backend.stat(CONFIG)


def test_packs_on_another_disk_behind_a_symbolic_link_are_found(backend, path, tmp_path):
    (path / "data").rename(tmp_path / "elsewhere")
    (path / "data").symlink_to(tmp_path / "elsewhere")
    backend.save(PACK, b"pack")
    assert list(backend.list_files(FileType.PACK)) == [FileInfo(PACK, 4)]


def test_a_directory_or_link_with_the_name_of_a_file_is_not_listed(backend, path):
    (path / "keys" / ("0" * 64)).mkdir()
    (path / "keys" / ("1" * 64)).symlink_to("/etc/hostname")
    assert list(backend.list_files(FileType.KEY)) == []


# Durability


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the kernel, in order, as (call, the file's name)."""
    asked = []

    def spy(name, what):
        real = getattr(os, name)

        def call(first, *rest):
            asked.append((name, what(first)))
            return real(first, *rest)

        monkeypatch.setattr(os, name, call)

    def name_of(fd):
        return os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))

    for name in ("write", "fchmod", "fsync"):
        spy(name, name_of)
    for name in ("rename", "unlink", "mkdir"):
        spy(name, lambda path: path.name)
    return asked


def test_a_save_is_synced_before_it_gets_its_name_and_its_name_afterwards(backend, calls):
    backend.save(OTHER, b"warms up the directory")
    calls.clear()
    backend.save(PACK, b"pack")
    temp = calls[0][1]
    assert temp.startswith(f"{PACK.name}-tmp-")
    assert calls == [("write", temp), ("fchmod", temp), ("fsync", temp), ("rename", temp), ("fsync", "ab")]


def test_a_new_directory_is_synced_into_its_parents_before_a_file_is_saved_in_it(tmp_path, calls):
    LocalBackend(tmp_path).save(PACK, b"pack")
    first_write = next(number for number, (call, _) in enumerate(calls) if call == "write")
    assert sorted(calls[:first_write]) == [
        ("fsync", "data"),
        ("fsync", tmp_path.name),
        ("mkdir", "ab"),
        ("mkdir", "data"),
    ]


def test_a_directory_is_synced_by_its_first_user_even_if_another_process_made_it(backend, path, calls):
    LocalBackend(path).save(PACK, b"pack")
    assert ("fsync", "data") in calls


def test_a_removal_is_synced_even_of_a_file_that_was_gone(backend, calls):
    backend.remove(PACK)
    assert calls == [("unlink", PACK.name), ("fsync", "ab")]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_is_used_without(backend, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", failing(number))
    backend.save(PACK, b"pack")
    assert backend.load(PACK) == b"pack"


def test_a_file_system_without_modes_is_used_without(backend, monkeypatch):
    monkeypatch.setattr(os, "fchmod", failing(errno.EPERM))
    backend.save(PACK, b"pack")
    assert backend.load(PACK) == b"pack"


# Errors


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EACCES, AccessDeniedError),
        (errno.EROFS, AccessDeniedError),
        (errno.EPERM, AccessDeniedError),
        (errno.EIO, BackendUnavailableError),
        (errno.ESTALE, BackendUnavailableError),
        (errno.EFBIG, BackendError),
    ],
)
def test_a_save_that_fails_tells_why_and_leaves_nothing(backend, path, monkeypatch, call, number, kind):
    monkeypatch.setattr(os, call, failing(number))
    with pytest.raises(BackendError, match=PACK.name) as caught:
        backend.save(PACK, b"pack")
    assert type(caught.value) is kind
    assert files_below(path) == set()


def test_a_save_that_fails_keeps_the_file_it_was_to_replace(backend, monkeypatch):
    backend.save(CONFIG, b"old")
    with monkeypatch.context() as patch, pytest.raises(BackendUnavailableError):
        patch.setattr(os, "fsync", failing(errno.EIO))
        backend.save(CONFIG, b"new")
    assert backend.load(CONFIG) == b"old"


def test_a_message_is_lower_case_and_names_the_path(backend, path):
    with pytest.raises(FileMissingError) as caught:
        backend.load(PACK)
    assert str(caught.value) == f"cannot read {path}/data/ab/{PACK.name}: no such file or directory"


def test_a_file_that_shrinks_while_it_is_read_is_a_short_read(backend, monkeypatch):
    backend.save(PACK, b"pack")
    monkeypatch.setattr(os, "pread", lambda *_: b"")
    with pytest.raises(BackendError, match="read 0 instead of 4 bytes") as caught:
        backend.load(PACK)
    assert caught.value.retryable


def test_reads_that_come_in_pieces_are_put_together(backend, monkeypatch):
    backend.save(PACK, bytes(range(100)))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: real(fd, min(length, 7), offset))
    assert backend.load(PACK, offset=5, length=50) == bytes(range(5, 55))


def test_writes_that_go_in_pieces_are_put_together(backend, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, rest: real(fd, rest[:7]))
    backend.save(PACK, bytes(range(100)))
    assert backend.load(PACK) == bytes(range(100))


@pytest.mark.root
def test_a_full_disk_is_told_and_what_was_stored_stays_readable(small_disk):
    backend = LocalBackend(small_disk)
    backend.save(OTHER, bytes(1000))
    with pytest.raises(StorageFullError, match=PACK.name):
        backend.save(PACK, bytes(2 << 20))
    assert files_below(small_disk) == {f"data/ab/{OTHER.name}"}
    assert backend.load(OTHER) == bytes(1000)


@pytest.mark.root
def test_after_a_full_disk_a_smaller_file_finds_room(small_disk):
    backend = LocalBackend(small_disk)
    with pytest.raises(StorageFullError):
        backend.save(PACK, bytes(2 << 20))
    backend.save(PACK, bytes(500 << 10))
    assert backend.stat(PACK).size == 500 << 10


@pytest.mark.root
def test_a_read_only_disk_can_be_read_and_refuses_every_change(small_disk):
    backend = LocalBackend(small_disk)
    backend.save(PACK, b"pack")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert backend.load(PACK) == b"pack"
    for change in (lambda: backend.save(OTHER, b"new"), lambda: backend.remove(PACK), backend.create):
        with pytest.raises(AccessDeniedError, match=str(small_disk)):
            change()


# Remnants of killed saves


def plant(path, *, age):
    path.write_bytes(b"half")
    written = (NOW - age).timestamp()
    os.utime(path, (written, written))


@pytest.mark.parametrize("place", [f"data/ab/{PACK.name}-tmp-0a1b", f"keys/{PACK.name}-tmp-123456", "config-tmp-9f"])
def test_a_sweep_removes_what_a_killed_save_left_a_day_ago(backend, path, place):
    plant(path / place, age=timedelta(days=1, seconds=1))
    assert backend.sweep(NOW) == 1
    assert files_below(path) == set()


def test_a_sweep_leaves_what_a_save_may_still_be_writing(backend, path):
    plant(path / f"data/ab/{PACK.name}-tmp-0a1b", age=timedelta(hours=23))
    assert backend.sweep(NOW) == 0
    assert len(files_below(path)) == 1


@pytest.mark.parametrize("place", [f"data/ab/{PACK.name}", "config", "notes-tmp-1", f"keys/{PACK.name}.bak"])
def test_a_sweep_leaves_every_other_file_however_old(backend, path, place):
    plant(path / place, age=timedelta(days=1000))
    assert backend.sweep(NOW) == 0
    assert files_below(path) == {place}


def test_a_sweep_of_a_place_without_a_repository_finds_nothing(tmp_path):
    assert LocalBackend(tmp_path / "gone").sweep(NOW) == 0
