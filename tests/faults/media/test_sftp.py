"""A real OpenSSH that refuses, lacks something or falls silent."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.faults.media.conftest import Pauses
from tests.faults.media.test_tcp import port_of, ssh_config, through

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.media import open_backend
from icebrick.backend.options import BackendOptions
from icebrick.backend.sftp.backend import SftpBackend, server_of
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    StorageFullError,
    UsageError,
)
from icebrick.testing.servers import sshd
from icebrick.testing.servers.server import Place, StorageServer
from icebrick.testing.tcpfaults import Spoil, TcpProxy, Way

CONFIG = Handle(FileType.CONFIG)
PACK = Handle(FileType.PACK, "ab" * 32)

pytestmark = pytest.mark.damages_repository("to a backend, files are mere bytes")

_numbers = itertools.count()


@pytest.fixture
def place(sftp_server: StorageServer) -> Place:
    """Nothing is there yet."""
    return sftp_server.place(f"refusal-{next(_numbers)}")


@contextmanager
def opened(place: Place, **options: Path) -> Iterator[Backend]:
    values = {**place.options.values, **{f"sftp.{name.replace('_', '-')}": str(path) for name, path in options.items()}}
    with closing(open_backend(place.location, BackendOptions(values))) as backend:
        yield backend


@pytest.fixture
def backend(place: Place) -> Iterator[Backend]:
    with opened(place) as backend:
        backend.create()
        yield backend


def new_key(path: Path, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True)
    return path


def without(place: Place, *words: str) -> str:
    """The client's configuration without the lines that have any of the words in them."""
    lines = ssh_config(place).splitlines(keepends=True)
    return "".join(line for line in lines if not any(word in line for word in words))


class TestHostKeys:
    """Who is not known is not spoken to."""

    def test_a_host_that_is_not_known_is_refused_with_how_to_make_it_known(self, place: Place, tmp_path: Path) -> None:
        (tmp_path / "hosts").touch()
        with opened(place, known_hosts=tmp_path / "hosts") as backend, pytest.raises(AccessDeniedError) as told:
            backend.stat(CONFIG)
        assert "ssh-keyscan" in told.value.hint
        assert not told.value.retryable

    def test_a_host_with_another_key_than_the_known_one_is_refused(self, place: Place, tmp_path: Path) -> None:
        host = f"[127.0.0.1]:{port_of(place)}"
        key = new_key(tmp_path / "other").with_suffix(".pub").read_text()
        (tmp_path / "hosts").write_text(f"{host} {key}")
        with opened(place, known_hosts=tmp_path / "hosts") as backend, pytest.raises(AccessDeniedError):
            backend.stat(CONFIG)

    @pytest.mark.parametrize("hosts", ["none", "/dev/null", "/nowhere/known_hosts"])
    def test_no_configuration_makes_unknown_hosts_welcome(self, place: Place, tmp_path: Path, hosts: str) -> None:
        changed = f"{without(place, 'KnownHosts', 'Strict')}UserKnownHostsFile {hosts}\nStrictHostKeyChecking no\n"
        (tmp_path / "config").write_text(changed)
        with opened(place, config=tmp_path / "config") as backend, pytest.raises(AccessDeniedError):
            backend.stat(CONFIG)


class TestLoggingIn:
    def test_a_key_the_server_does_not_take_is_an_error_for_good(self, place: Place, tmp_path: Path) -> None:
        with (
            opened(place, identity=new_key(tmp_path / "stranger")) as backend,
            pytest.raises(AccessDeniedError, match="permission denied") as told,
        ):
            backend.stat(CONFIG)
        assert told.value.hint

    def test_an_agent_s_key_is_used(self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "config").write_text(without(place, "Identit"))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        (identity,) = [line.split()[1] for line in ssh_config(place).splitlines() if "IdentityFile" in line]
        with (
            subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL) as agent,
            opened(place, config=tmp_path / "config") as backend,
        ):
            try:
                while subprocess.run(["ssh-add", "-q", identity], check=False, stderr=subprocess.DEVNULL).returncode:
                    assert agent.poll() is None
                with pytest.raises(FileMissingError):
                    backend.stat(CONFIG)
            finally:
                agent.terminate()

    @pytest.mark.parametrize("only", ["yes", "no"])
    def test_a_key_with_a_passphrase_is_an_error_that_says_where_it_must_be(
        self, place: Place, tmp_path: Path, only: str
    ) -> None:
        (tmp_path / "config").write_text(ssh_config(place).replace("IdentitiesOnly yes", f"IdentitiesOnly {only}"))
        locked = new_key(tmp_path / "locked", "hunter2")
        with (
            opened(place, identity=locked, config=tmp_path / "config") as backend,
            pytest.raises((UsageError, AccessDeniedError)) as told,
        ):
            backend.stat(CONFIG)
        assert "passphrase" in f"{told.value} {told.value.hint}".lower()

    def test_a_configuration_that_says_nonsense_is_an_error(self, place: Place, tmp_path: Path) -> None:
        (tmp_path / "config").write_text("Port many\n")
        with opened(place, config=tmp_path / "config") as backend, pytest.raises(UsageError, match="many"):
            backend.stat(CONFIG)

    def test_a_host_of_no_such_name_is_an_error_for_good(self, place: Place) -> None:
        elsewhere = replace(place.location, address="nowhere.invalid:/srv")
        with opened(replace(place, location=elsewhere)) as backend, pytest.raises(BackendError) as told:
            backend.stat(CONFIG)
        assert not told.value.retryable


@pytest.fixture
def changed_server(sftp_server: StorageServer, server_folder: Path) -> Iterator[Callable[[str, str], Place]]:
    """Starts a server whose configuration differs in one thing."""
    folder = server_folder / "sshd-changed"

    with sshd.serving(folder) as server:

        def change(old: str, new: str) -> Place:
            server.kill()
            text = (folder / "sshd_config").read_text()
            assert old in text
            (folder / "sshd_config").write_text(text.replace(old, new))
            server.restart()
            return server.place("changed")

        yield change
    shutil.rmtree(folder)


class TestPoorServers:
    def test_a_server_without_sftp_is_an_error_for_good(self, changed_server: Callable[[str, str], Place]) -> None:
        with (
            opened(changed_server("Subsystem sftp", "Subsystem other")) as backend,
            pytest.raises(BackendError) as told,
        ):
            backend.stat(CONFIG)
        assert not told.value.retryable
        assert "Subsystem" in told.value.hint

    def test_a_server_that_knows_nothing_but_the_protocol_keeps_files_all_the_same(
        self, changed_server: Callable[[str, str], Place]
    ) -> None:
        server = "/usr/lib/openssh/sftp-server"
        with opened(changed_server(server, f"{server} -P posix-rename,fsync,limits,statvfs")) as backend:
            backend.create()
            backend.save(PACK, bytes(3 << 20))
            backend.save(PACK, b"other")
            assert backend.load(PACK) == b"other"
            assert list(backend.list_files(FileType.PACK)) == [FileInfo(PACK, 5)]


class TestDisks:
    @pytest.fixture
    def small(self, root: None, place: Place) -> Iterator[Callable[[str], None]]:
        """Mounts a disk of a megabyte at the place."""
        assert place.folder is not None
        place.folder.mkdir()

        def mount(options: str) -> None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place.folder)], check=True)

        yield mount
        subprocess.run(["umount", "-l", str(place.folder)], check=True)

    def test_a_full_disk_is_told_and_nothing_of_the_file_stays(
        self, small: Callable[[str], None], place: Place
    ) -> None:
        small("size=2m")
        with opened(place) as backend:
            backend.create()
            backend.save(CONFIG, b"config")
            with pytest.raises(StorageFullError):
                backend.save(PACK, bytes(8 << 20))
            assert backend.load(CONFIG) == b"config"
        assert place.folder is not None
        assert [path.name for path in place.folder.rglob("*") if path.is_file()] == ["config"]

    def test_a_read_only_disk_is_an_error_for_good(self, small: Callable[[str], None], place: Place) -> None:
        small("ro")
        with opened(place) as backend, pytest.raises(AccessDeniedError):
            backend.save(CONFIG, b"config")

    def test_a_root_that_vanished_is_not_made_anew(self, backend: Backend, place: Place) -> None:
        assert place.folder is not None
        shutil.rmtree(place.folder)
        with pytest.raises(BackendError) as told:
            backend.save(PACK, b"pack")
        assert not isinstance(told.value, FileMissingError)
        assert not place.folder.exists()


def test_files_are_private_and_synced_under_a_name_of_restic_s_kind(backend: Backend, place: Place) -> None:
    backend.save(PACK, b"pack")
    assert place.folder is not None
    path = place.folder / "data" / PACK.name[:2] / PACK.name
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_sweeping_removes_what_dead_saves_left_and_nothing_younger(backend: Backend, place: Place) -> None:
    assert place.folder is not None
    now = datetime.now(UTC)
    old = (now - timedelta(days=2)).timestamp()
    names = [f"{PACK.name}-restic-temp-0123", f"{PACK.name}-tmp-0123", PACK.name]
    for path in [*(place.folder / "data/ab" / name for name in names), place.folder / "config-tmp-1"]:
        path.write_bytes(b"x")
        os.utime(path, (old, old))
    young = place.folder / "locks" / f"{PACK.name}-restic-temp-9"
    young.touch()
    assert backend.sweep(now) == 3
    assert young.exists()
    assert list(backend.list_files(FileType.PACK)) == [FileInfo(PACK, 1)]


class TestSilence:
    """A server that is there, and says nothing."""

    @pytest.mark.parametrize(
        ("patience", "keepalive"), [(1.0, 60.0), (60.0, 0.3)], ids=["in-an-answer", "on-the-connection"]
    )
    def test_it_is_given_up_after_a_while_and_the_next_attempt_has_a_connection_of_its_own(
        self, place: Place, tmp_path: Path, pauses: Pauses, patience: float, keepalive: float
    ) -> None:
        port = port_of(place)
        with opened(place) as backend:
            backend.create()
        with TcpProxy(port) as proxy:
            there = through(place, port, proxy.port, tmp_path)
            server = server_of(there.location, there.options)
            with closing(SftpBackend("sftp:", replace(server, patience=patience, keepalive=keepalive))) as backend:
                proxy.spoil(Spoil.STALL, Way.UP, after=100_000)
                with pytest.raises(BackendUnavailableError):
                    backend.save(PACK, bytes(1 << 20))
                proxy.behave()
                pauses.patient(backend).save(PACK, b"pack")
        with opened(place) as backend:
            assert backend.load(PACK) == b"pack"


def test_whoever_is_interrupted_while_a_server_is_silent_does_not_wait_for_it(place: Place, tmp_path: Path) -> None:
    port = port_of(place)
    with TcpProxy(port) as proxy:
        there = through(place, port, proxy.port, tmp_path)
        with opened(there) as backend:
            backend.create()
            proxy.spoil(Spoil.STALL, Way.UP, after=100_000)
            with interrupted(), pytest.raises(KeyboardInterrupt):
                backend.save(PACK, bytes(1 << 20))


@contextmanager
def interrupted() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    yield
    signal.signal(signal.SIGALRM, before)
