"""Servers whose disk is full, or may no longer be written: an error, and all that was stored before stays."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.media.conftest import ATTEMPTS, Pauses

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.conformance.base import named
from icebrick.backend.media import open_backend
from icebrick.errors import AccessDeniedError, BackendError, FileMissingError, StorageFullError
from icebrick.testing.servers.server import StorageServer

MEDIA = {"sftp": "sftp_server", "ftp": "ftp_server", "rest": "plain_rest_server"}
SIZE = 1 << 20
ROOM = 6

pytestmark = [
    pytest.mark.parametrize("disk", MEDIA, indirect=True),
    pytest.mark.damages_repository("to a backend, files are mere bytes"),
]

_numbers = itertools.count()


@dataclass(frozen=True)
class Disk:
    """A small disk of a server, and the repository's place on it."""

    medium: str
    folder: Path
    backend: Backend


@pytest.fixture
def disk(request: pytest.FixtureRequest, root: None) -> Iterator[Disk]:
    server: StorageServer = request.getfixturevalue(MEDIA[request.param])
    place = server.place(f"small-{next(_numbers)}")
    folder = place.folder
    assert folder is not None
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}m", "tmpfs", folder], check=True)
    try:
        if request.param == "ftp":
            shutil.chown(folder, "ftp")
        with closing(open_backend(place.location, place.options)) as backend:
            backend.create()
            yield Disk(request.param, folder, backend)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def fill(backend: Backend) -> tuple[dict[Handle, bytes], Handle, BackendError]:
    """What was saved, what could not be, and why."""
    saved: dict[Handle, bytes] = {}
    while True:
        content = os.urandom(SIZE)
        handle = named(content)
        try:
            backend.save(handle, content)
        except BackendError as error:
            return saved, handle, error
        saved[handle] = content


def test_a_full_disk_is_told_and_what_was_stored_stays(disk: Disk, pauses: Pauses) -> None:
    saved, refused, error = fill(pauses.patient(disk.backend))
    assert len(pauses.made) < ATTEMPTS
    assert refused.name in str(error)
    if disk.medium == "sftp":  # the others say no more than that it failed
        assert isinstance(error, StorageFullError)
    assert len(saved) >= ROOM - 2
    assert {handle: disk.backend.load(handle) for handle in saved} == saved
    assert set(disk.backend.list_files(FileType.PACK)) == {FileInfo(handle, SIZE) for handle in saved}
    with pytest.raises(FileMissingError):
        disk.backend.stat(refused)
    first, *_ = saved
    disk.backend.remove(first)
    disk.backend.save(first, saved[first])


def test_a_disk_that_may_not_be_written_any_more_is_told_and_can_still_be_read(disk: Disk, pauses: Pauses) -> None:
    content = os.urandom(SIZE)
    disk.backend.save(named(content), content)
    subprocess.run(["mount", "-o", "remount,ro", disk.folder], check=True)
    patient = pauses.patient(disk.backend)
    with pytest.raises(BackendError) as told:
        patient.save(named(b"x"), b"x")
    if disk.medium == "sftp":
        assert isinstance(told.value, AccessDeniedError)
    with pytest.raises(BackendError):
        patient.remove(named(content))
    assert patient.load(named(content)) == content
    assert set(patient.list_files(FileType.PACK)) == {FileInfo(named(content), SIZE)}
