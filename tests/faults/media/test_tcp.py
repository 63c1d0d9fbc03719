"""SFTP and FTP whose connections break in every way: right data or an error, never wrong data."""

from __future__ import annotations

import hashlib
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.faults.media.conftest import ALWAYS, ATTEMPTS, Pauses, redirected

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.location import Location
from icebrick.backend.media import open_backend
from icebrick.backend.options import BackendOptions
from icebrick.backend.sftp.backend import SftpServer, server_of
from icebrick.errors import BackendError, BackendUnavailableError, FileMissingError
from icebrick.testing.servers.server import Place, StorageServer
from icebrick.testing.tcpfaults import Spoil, TcpProxy, Way

SIZE = 2 << 20
CONTENT = random.Random(4).randbytes(SIZE)
PACK = Handle(FileType.PACK, hashlib.sha256(CONTENT).hexdigest())
MEDIA = {"sftp": "sftp_server", "ftp": "ftp_server"}
PLACES = (0, 70_000, SIZE - 1)

pytestmark = pytest.mark.damages_repository("to a backend, files are mere bytes")

of_every_medium = pytest.mark.parametrize("medium", MEDIA, indirect=True)

_numbers = itertools.count()


@dataclass(frozen=True)
class TcpMedium:
    """A place on a server behind a proxy, created and empty."""

    name: str
    proxy: TcpProxy
    backend: Backend


@pytest.fixture
def medium(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpMedium]:
    name = request.param
    if "impatience" in request.fixturenames:
        request.getfixturevalue("impatience")
    else:  # where one side does not see that the other has gone
        monkeypatch.setattr("icebrick.backend.ftp.backend._TIMEOUT", 5.0)
    server: StorageServer = request.getfixturevalue(MEDIA[name])
    place = server.place(f"fault-{next(_numbers)}")
    port = port_of(place)
    with TcpProxy(port, ftp=name == "ftp") as proxy:
        there = through(place, port, proxy.port, tmp_path)
        with closing(open_backend(there.location, there.options)) as backend:
            backend.create()
            yield TcpMedium(name, proxy, backend)


def port_of(place: Place) -> int:
    if place.location.scheme == "sftp":
        (line,) = [line for line in ssh_config(place).splitlines() if line.split()[0] == "Port"]
        return int(line.split()[1])
    return int(place.location.address.rpartition("@")[2].partition("/")[0].partition(":")[2])


def ssh_config(place: Place) -> str:
    return Path(place.options.values["sftp.config"]).read_text()


def through(place: Place, old: int, new: int, folder: Path) -> Place:
    """With another port; for SFTP, a configuration and a list of hosts that say so."""
    if place.location.scheme != "sftp":
        return redirected(place, old, new)
    config = ssh_config(place).replace(f"Port {old}", f"Port {new}")
    (hosts,) = [line.split()[1] for line in config.splitlines() if "UserKnownHostsFile" in line]
    (folder / "known_hosts").write_text(Path(hosts).read_text().replace(f":{old} ", f":{new} "))
    (folder / "ssh_config").write_text(config.replace(hosts, str(folder / "known_hosts")))
    return replace(place, options=replace(place.options, values={"sftp.config": str(folder / "ssh_config")}))


Call = Callable[[Backend], object]
CALLS: dict[str, tuple[Call, object, Way]] = {
    "save": (lambda backend: backend.save(PACK, CONTENT), None, Way.UP),
    "load": (lambda backend: backend.load(PACK), CONTENT, Way.DOWN),
    "range": (lambda backend: backend.load(PACK, offset=7, length=500_000), CONTENT[7:500_007], Way.DOWN),
    "stat": (lambda backend: backend.stat(PACK), FileInfo(PACK, SIZE), Way.DOWN),
    "list": (lambda backend: list(backend.list_files(FileType.PACK)), [FileInfo(PACK, SIZE)], Way.DOWN),
    "remove": (lambda backend: backend.remove(PACK), None, Way.DOWN),
}


def prepare(medium: TcpMedium, pauses: Pauses, name: str) -> None:
    medium.proxy.behave()
    patient = pauses.patient(medium.backend)
    if name == "save":
        patient.remove(PACK)
        return
    try:
        patient.stat(PACK)
    except FileMissingError:
        patient.save(PACK, CONTENT)


@of_every_medium
@pytest.mark.parametrize("spoil", [Spoil.RESET, Spoil.CLOSE], ids=lambda spoil: spoil.value)
def test_a_connection_that_breaks_anywhere_does_no_harm(medium: TcpMedium, pauses: Pauses, spoil: Spoil) -> None:
    patient = pauses.patient(medium.backend)
    for name, (call, wanted, way) in CALLS.items():
        for after in PLACES if name in {"save", "load"} else PLACES[:1]:
            prepare(medium, pauses, name)
            medium.proxy.met = 0
            medium.proxy.spoil(spoil, way, after=after)
            assert call(patient) == wanted, (name, after)
            assert medium.proxy.met == 1, (name, after)
            if name != "remove":
                assert patient.load(PACK) == CONTENT, (name, after)
                continue
            with pytest.raises(FileMissingError):
                patient.load(PACK)


@of_every_medium
def test_without_a_server_every_call_is_told_after_a_bounded_number_of_attempts(
    medium: TcpMedium, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    for name, (call, _, way) in CALLS.items():
        prepare(medium, pauses, name)
        medium.proxy.spoil(Spoil.RESET, way, times=ALWAYS)
        pauses.made.clear()
        caplog.clear()
        with caplog.at_level(logging.WARNING, "icebrick"), pytest.raises(BackendUnavailableError) as told:
            call(pauses.patient(medium.backend))
        assert "127.0.0.1" in str(told.value) or "icebrick-test" in str(told.value), name
        assert len(pauses.made) == ATTEMPTS - 1, name
        retries = [line for line in caplog.records if line.getMessage().startswith("retry ")]
        assert len(retries) == ATTEMPTS - 1, name


@of_every_medium
def test_a_save_that_broke_for_good_leaves_no_part_under_the_name(medium: TcpMedium, pauses: Pauses) -> None:
    for after in PLACES:
        medium.proxy.spoil(Spoil.RESET, Way.UP, after=after, times=ALWAYS)
        with suppress(BackendError):
            pauses.patient(medium.backend).save(PACK, CONTENT)
        medium.proxy.behave()
        patient = pauses.patient(medium.backend)
        assert list(patient.list_files(FileType.PACK)) in ([], [FileInfo(PACK, SIZE)]), after
        patient.remove(PACK)


@pytest.mark.parametrize("medium", ["sftp"], indirect=True)
def test_a_bit_that_flips_on_the_way_changes_nothing(medium: TcpMedium, pauses: Pauses) -> None:
    """FTP has no check sums: what is in a file, the repository proves."""
    patient = pauses.patient(medium.backend)
    for name, (call, wanted, way) in CALLS.items():
        prepare(medium, pauses, name)
        medium.proxy.spoil(Spoil.FLIP, way, after=50)
        assert call(patient) == wanted, name
        medium.proxy.behave()
        if name != "remove":
            assert patient.load(PACK) == CONTENT, name


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are given a second to answer."""
    monkeypatch.setattr("icebrick.backend.ftp.backend._TIMEOUT", 1.0)

    def impatient(location: Location, options: BackendOptions) -> SftpServer:
        return replace(server_of(location, options), patience=1.0, keepalive=0.3)

    monkeypatch.setattr("icebrick.backend.sftp.backend.server_of", impatient)


@of_every_medium
def test_a_server_that_falls_silent_is_given_up(medium: TcpMedium, pauses: Pauses, impatience: None) -> None:
    patient = pauses.patient(medium.backend)
    for name in ("save", "load"):
        call, wanted, way = CALLS[name]
        prepare(medium, pauses, name)
        medium.proxy.met = 0
        medium.proxy.spoil(Spoil.STALL, way, after=70_000)
        assert call(patient) == wanted, name
        assert medium.proxy.met == 1, name
