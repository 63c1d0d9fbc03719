"""Real FTP servers that refuse, and a file that is there and may not be read."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.location import Location
from icebrick.backend.media import open_backend
from icebrick.backend.options import BackendOptions
from icebrick.errors import AccessDeniedError, BackendError, FileMissingError
from icebrick.testing.servers.server import Place, StorageServer

CONFIG = Handle(FileType.CONFIG)
PACK = Handle(FileType.PACK, "ab" * 32)
SERVERS = ["ftp_server", "pyftpd_server"]

pytestmark = pytest.mark.damages_repository("to a backend, files are mere bytes")

_numbers = itertools.count()


@contextmanager
def opened(place: Place) -> Iterator[Backend]:
    with closing(open_backend(place.location, place.options)) as backend:
        yield backend


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    server: StorageServer = request.getfixturevalue(request.param)
    return server.place(f"refusal-{next(_numbers)}")


@pytest.fixture
def backend(place: Place) -> Iterator[Backend]:
    with opened(place) as backend:
        backend.create()
        yield backend


@pytest.mark.parametrize("place", ["pyftpd_server"], indirect=True)
def test_a_wrong_password_is_an_error_for_good_which_does_not_show_it(place: Place) -> None:
    wrong = Location("ftp", place.location.address.replace("secret", "hunter2"))
    with opened(replace(place, location=wrong)) as backend, pytest.raises(AccessDeniedError) as told:
        backend.stat(CONFIG)
    assert "hunter2" not in f"{told.value} {told.value.hint}"
    assert "FTP_PASSWORD" in told.value.hint


@pytest.mark.parametrize("place", ["ftps_server"], indirect=True)
def test_a_certificate_of_an_authority_nobody_knows_is_an_error_for_good(place: Place) -> None:
    with opened(replace(place, options=BackendOptions())) as backend, pytest.raises(BackendError) as told:
        backend.stat(CONFIG)
    assert not told.value.retryable
    assert "--cacert" in told.value.hint


@pytest.mark.parametrize("place", ["ftp_server"], indirect=True)
def test_a_server_that_speaks_no_tls_is_not_told_the_password(place: Place) -> None:
    safe = Location("ftps", place.location.address)
    with opened(replace(place, location=safe)) as backend, pytest.raises(BackendError) as told:
        backend.stat(CONFIG)
    assert not told.value.retryable


@pytest.mark.parametrize("place", ["ftp_server"], indirect=True)
class TestRefusals:
    """By FTP's words what is missing and what one may not read are the same."""

    def test_a_file_that_may_not_be_read_is_not_said_to_be_missing(self, backend: Backend, place: Place) -> None:
        assert place.folder is not None
        (place.folder / "config").write_bytes(b"config")
        (place.folder / "config").chmod(0)
        with pytest.raises(AccessDeniedError):
            backend.load(CONFIG)

    def test_a_directory_that_may_not_be_entered_is_not_said_to_be_empty(self, backend: Backend, place: Place) -> None:
        assert place.folder is not None
        backend.save(PACK, b"pack")
        shutil.chown(place.folder / "data" / "ab", "root")
        (place.folder / "data" / "ab").chmod(0o700)
        with pytest.raises(AccessDeniedError):
            list(backend.list_files(FileType.PACK))
        with pytest.raises(AccessDeniedError):
            backend.load(PACK)
        with pytest.raises(AccessDeniedError):
            backend.remove(PACK)

    def test_a_directory_that_may_not_be_written_is_an_error_for_good(self, backend: Backend, place: Place) -> None:
        assert place.folder is not None
        shutil.chown(place.folder / "locks", "root")
        (place.folder / "locks").chmod(0o555)
        with pytest.raises(AccessDeniedError):
            backend.save(Handle(FileType.LOCK, PACK.name), b"lock")

    def test_a_root_that_vanished_is_not_made_anew(self, backend: Backend, place: Place) -> None:
        assert place.folder is not None
        shutil.rmtree(place.folder)
        with pytest.raises(BackendError) as told:
            backend.save(PACK, b"pack")
        assert not isinstance(told.value, FileMissingError)
        assert not place.folder.exists()

    def test_files_are_private(self, backend: Backend, place: Place) -> None:
        backend.save(PACK, b"pack")
        assert place.folder is not None
        assert (place.folder / "data" / "ab" / PACK.name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_sweeping_removes_what_dead_saves_left_and_nothing_younger(backend: Backend, place: Place) -> None:
    backend.save(PACK, b"pack")
    assert place.folder is not None
    owner = place.folder.stat()
    now = datetime.now(UTC)
    old = (now - timedelta(days=2)).timestamp()
    young = place.folder / "locks" / f"{PACK.name}-tmp-9"
    stale = [place.folder / "data/ab" / f"{PACK.name}-tmp-0123", place.folder / "config-tmp-1"]
    for path in [*stale, young]:
        path.write_bytes(b"x")
        os.chown(path, owner.st_uid, owner.st_gid)
        if path is not young:
            os.utime(path, (old, old))
    assert backend.sweep(now) == 2
    assert young.exists()
    assert list(backend.list_files(FileType.PACK)) == [FileInfo(PACK, 4)]
