"""One repository, reached by Icebrick and by stock restic through the same storage server."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from icebrick.backend.base import FileType
from icebrick.backend.media import open_backend
from icebrick.cli.main import run
from icebrick.testing.images import PASSWORD, small_repository
from icebrick.testing.servers.server import Place, StorageServer

SERVERS = (
    "local_disk",
    "sftp_server",
    "ftp_server",
    "ftps_server",
    "rest_server",
    "rclone_folder",
    "s3_server",
    "swift_s3_server",
    "swift_server",
)
"""Fixtures. Of FTP, which restic does not know, it is shown the server's own folder."""

Icebrick = Callable[..., str]


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest) -> Place:
    """Empty, on each kind of server in turn."""
    return request.getfixturevalue(request.param).place(request.function.__name__.replace("_", "-"))


@pytest.fixture
def icebrick(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Icebrick]:
    """The command in this process, on the place; what it prints. It must succeed."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in place.options.environment.items():
            patch.setenv(name, value)
        patch.setenv("RESTIC_REPOSITORY", place.text)
        patch.setenv("RESTIC_PASSWORD", PASSWORD.reveal())
        patch.setenv("ICEBRICK_STATE_DIR", str(tmp_path / "state"))
        patch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "cache"))

        def invoke(*arguments: str | Path) -> str:
            code = run([*place.arguments, *map(str, arguments)], as_json="--json" in arguments)
            captured = capsys.readouterr()
            assert code == 0, captured.out + captured.err
            return captured.out

        yield invoke


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_restic_reads_what_icebrick_has_stored(place: Place, icebrick: Icebrick, restic: str, tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(noise(3 << 20) + bytes(2 << 20) + noise(100_000))
    with closing(open_backend(place.location, place.options)) as backend:
        small_repository(backend)
    icebrick("backup", "--image", image, "--name", "disk")

    program = place.restic(restic, PASSWORD.reveal())
    program.run("check", "--read-data")
    program.run("restore", "latest", "--target", str(tmp_path / "restored"))
    assert (tmp_path / "restored" / "volume.raw").read_bytes() == image.read_bytes()


def test_icebrick_reads_what_restic_has_stored(place: Place, icebrick: Icebrick, restic: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "noise").write_bytes(noise(3 << 20))
    (source / "below" / "text").write_text("some words\n" * 1000)
    program = place.restic(restic, PASSWORD.reveal())
    program.run("init")
    stored = json.loads(program.run("backup", "--json", str(source)).splitlines()[-1])
    reown(place)

    (listed,) = json.loads(icebrick("snapshots", "--json"))
    assert stored["snapshot_id"] == listed["short_id"]
    icebrick("check", "--read-data")
    icebrick("restore", "--snapshot", stored["snapshot_id"], "--target", tmp_path / "restored", "--verify")
    restored = tmp_path / "restored" / source.relative_to("/")
    assert contents(restored) == contents(source)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestServerThatOnlyAdds:
    """As `rest-server --append-only` and `rclone serve restic --append-only` are."""

    @pytest.fixture
    def place(self, append_only_server: StorageServer, request: pytest.FixtureRequest) -> Place:
        return append_only_server.place(request.function.__name__.replace("_", "-"))

    def test_backups_go_there_again_and_again(
        self, place: Place, icebrick: Icebrick, restic: str, tmp_path: Path
    ) -> None:
        image = tmp_path / "disk.raw"
        with closing(open_backend(place.location, place.options)) as backend:
            small_repository(backend)
            for size in (300_000, 400_000):
                image.write_bytes(noise(size))
                icebrick("backup", "--image", image, "--name", "disk")
            assert list(backend.list_files(FileType.LOCK)) == []
        program = place.restic(restic, PASSWORD.reveal())
        program.run("check", "--read-data")
        assert len(program.json("snapshots")) == 2


def reown(place: Place) -> None:
    """Give what restic made in the server's folder to the server's user."""
    if place.location.scheme in ("ftp", "ftps") and place.folder is not None:
        owner = place.folder.parent.stat()
        for path in (place.folder, *place.folder.rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)
