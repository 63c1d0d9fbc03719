"""The wrappers that log, refuse and pretend."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from icebrick.backend.base import BackendWrapper, FileInfo, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.wrap.dryrun import DryRunBackend
from icebrick.backend.wrap.log import LogBackend
from icebrick.backend.wrap.readonly import ReadOnlyBackend
from icebrick.errors import AccessDeniedError, FileMissingError

PACK = Handle(FileType.PACK, "ab" + "0" * 62)
OTHER = Handle(FileType.PACK, "ab" + "1" * 62)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def medium():
    """With PACK in it."""
    medium = MemoryBackend()
    medium.save(PACK, b"pack")
    return medium


# Log


@pytest.fixture
def lines(caplog):
    """Gives the messages so far."""
    caplog.set_level(logging.DEBUG, "icebrick.backend")
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]


def ticking(milliseconds):
    """A clock that goes on by so much each time it is read."""
    readings = (reading * milliseconds / 1000 for reading in range(1000))
    return lambda: next(readings)


def test_each_call_is_one_line_with_operation_file_size_and_time(medium, lines):
    backend = LogBackend(medium, ticking(5))
    backend.save(OTHER, b"other")
    backend.load(PACK, offset=1, length=2)
    backend.stat(PACK)
    backend.remove(OTHER)
    assert [line.strip() for line in lines()] == [
        f"op=save file={OTHER} ms=5.0 bytes=5",
        f"op=load file={PACK} ms=5.0 offset=1 bytes=2",
        f"op=stat file={PACK} ms=5.0 bytes=4",
        f"op=remove file={OTHER} ms=5.0",
    ]


def test_a_listing_is_one_line_with_the_number_of_files(medium, lines):
    list(LogBackend(medium, ticking(5)).list_files(FileType.PACK))
    assert lines() == ["op=list file=data ms=5.0 files=1"]


def test_a_call_that_failed_is_logged_with_its_error_and_raises_it(medium, lines):
    with pytest.raises(FileMissingError):
        LogBackend(medium, ticking(5)).load(OTHER)
    (line,) = lines()
    assert line.startswith(f"op=load file={OTHER} ms=5.0 error=FileMissingError")


# Read-only


@pytest.mark.parametrize(
    "change",
    [
        lambda backend: backend.save(OTHER, b"other"),
        lambda backend: backend.remove(PACK),
        lambda backend: backend.create(),
        lambda backend: backend.sweep(NOW),
    ],
)
def test_a_read_only_backend_refuses_every_change_and_reads_on(medium, change):
    backend = ReadOnlyBackend(medium)
    with pytest.raises(AccessDeniedError, match="mem: was opened read-only"):
        change(backend)
    assert backend.load(PACK) == b"pack"
    assert list(backend.list_files(FileType.PACK)) == [FileInfo(PACK, 4)]


# Dry run


class Unchangeable(BackendWrapper):
    """Fails the test when a change reaches it."""

    def create(self):
        pytest.fail("create reached the medium")

    def save(self, handle, data):
        pytest.fail(f"save of {handle} reached the medium")

    def remove(self, handle):
        pytest.fail(f"remove of {handle} reached the medium")

    def sweep(self, now):
        pytest.fail("sweep reached the medium")


@pytest.fixture
def pretending(medium):
    return DryRunBackend(Unchangeable(medium))


def test_what_a_dry_run_saved_can_be_read_and_never_reaches_the_medium(pretending):
    pretending.create()
    pretending.save(OTHER, b"other")
    assert pretending.load(OTHER) == b"other"
    assert set(pretending.list_files(FileType.PACK)) == {FileInfo(PACK, 4), FileInfo(OTHER, 5)}


def test_what_a_dry_run_removed_seems_gone_and_stays_on_the_medium(pretending, medium):
    pretending.remove(PACK)
    with pytest.raises(FileMissingError):
        pretending.stat(PACK)
    assert list(pretending.list_files(FileType.PACK)) == []
    assert medium.load(PACK) == b"pack"


def test_what_a_dry_run_replaced_is_listed_once_as_new(pretending):
    pretending.save(PACK, b"longer than before")
    assert list(pretending.list_files(FileType.PACK)) == [FileInfo(PACK, 18)]


def test_a_dry_run_sweeps_nothing(pretending):
    assert pretending.sweep(NOW) == 0
