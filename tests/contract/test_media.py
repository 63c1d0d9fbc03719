"""Every storage medium does what a backend must, on a real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from icebrick.backend.base import Backend, FileType
from icebrick.backend.conformance.base import Check
from icebrick.backend.media import open_backend
from icebrick.errors import BackendError
from icebrick.parallel import Workers
from icebrick.testing.backend_contract import BackendContract, DirectoryBackendContract, named
from icebrick.testing.servers.server import Place

pytestmark = pytest.mark.damages_repository("to a backend, files are mere bytes")


@pytest.fixture(scope="class")
def place(request: pytest.FixtureRequest) -> Place:
    """On the server whose fixture the test's class names."""
    return request.getfixturevalue(request.cls.server).place("contract")


@pytest.fixture(scope="class")
def medium(place: Place) -> Iterator[Backend]:
    """One for all tests of a class, as making its folders takes a while."""
    with closing(open_backend(place.location, place.options)) as backend:
        backend.create()
        yield backend


class MediumContract(BackendContract):
    """For a class attribute `server`, the name of a fixture."""

    in_place: ClassVar[bool] = False
    """Whether the server writes files in place. Then checks may fail that are not needed; all others must hold."""

    @pytest.fixture
    def backend(self, medium: Backend, place: Place, request: pytest.FixtureRequest) -> Iterator[Backend]:
        check = getattr(request.node, "callspec", None) and request.node.callspec.params.get("check")
        if self.in_place and isinstance(check, Check) and not check.needed:
            request.applymarker(pytest.mark.xfail(reason="the server writes files in place", strict=False))
        yield medium
        self.clear(medium, place)

    def clear(self, medium: Backend, place: Place) -> None:
        with Workers(medium.remove, threads=medium.connections) as workers:
            for handle in [info.handle for kind in FileType for info in medium.list_files(kind)]:
                workers.put(handle)

    def test_closing_twice_is_fine(self, place: Place) -> None:
        backend = open_backend(place.location, place.options)
        assert list(backend.list_files(FileType.KEY)) == []
        backend.close()
        backend.close()

    def test_a_place_that_was_never_made_has_no_files(self, place: Place) -> None:
        never = place.location.address.replace("contract", "never")
        if place.location.scheme in ("s3", "swift"):
            never = never.replace("icebrick", "never-icebrick")  # the bucket too
        with closing(open_backend(replace(place.location, address=never), place.options)) as backend:
            assert [info for kind in FileType for info in backend.list_files(kind)] == []
            with pytest.raises(BackendError):
                backend.load(named(b"x"))

    def test_the_location_is_told_without_its_password(self, backend: Backend, place: Place) -> None:
        assert "secret" not in backend.location
        assert backend.location.startswith(f"{place.location.scheme}:")


def tree(place: Place) -> Path:
    """The repository's files on this host."""
    assert place.folder is not None
    return place.folder


class TreeContract(MediumContract, DirectoryBackendContract):
    """For servers of plain trees of files."""

    def clear(self, medium: Backend, place: Place) -> None:
        """Behind the server's back, as listing through it takes a while; it keeps nothing in mind."""
        for path in tree(place).rglob("*"):
            if path.is_file():
                path.unlink()

    @pytest.fixture
    def plant(self, medium: Backend, place: Place) -> Iterator[Callable[[str, bytes], None]]:
        root = tree(place)
        owner = root.stat()
        before = set(root.rglob("*"))

        def plant(path: str, content: bytes) -> None:
            where = root / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(content)
            for made in set(root.rglob("*")) - before:
                shutil.chown(made, owner.st_uid, owner.st_gid)

        yield plant
        for made in sorted(set(root.rglob("*")) - before, reverse=True):
            made.rmdir() if made.is_dir() else made.unlink()


class TestOpenSsh(TreeContract):
    server = "sftp_server"


class TestVsftpd(TreeContract):
    server = "ftp_server"


class TestVsftpdWithTls(TreeContract):
    server = "ftps_server"


class TestPyftpd(TreeContract):
    """Which lists for machines."""

    server = "pyftpd_server"


class TestRest(MediumContract):
    """rclone's server of restic's protocol, over HTTPS."""

    server = "rest_server"
    in_place = True


class TestRclone(MediumContract):
    server = "rclone_folder"
    in_place = True


class TestSeaweedFs(MediumContract):
    """S3 over HTTPS."""

    server = "s3_server"


class TestS3OfSwift(MediumContract):
    server = "swift_s3_server"


class TestSwift(MediumContract):
    server = "swift_server"
