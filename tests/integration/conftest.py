"""A real Keystone and Cinder for tests: one devcloud a session (a worker, with xdist), a leak check a test."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from tests.integration.agent import PASSWORD, Agent, Tenant
from tests.integration.compute import Compute

from icebrick.backend.local import LocalBackend
from icebrick.cloud.base import VolumeSettings, VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.session import connect
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.environment import default_environment, prepare_environment
from icebrick.devcloud.processes import process_id, this_process
from icebrick.devcloud.record import ProcessId, Settings
from icebrick.repository.keyfile import ScryptParameters
from icebrick.repository.repository import init_repository
from icebrick.secret import Secret

TOOLS = ("losetup", "mount", "umount", "mkfs.btrfs", "mkfs.ext4")
FOLDER = Path("/var/tmp/icebrick-tests")
WAIT_SECONDS = 300
LONGEST_PAUSE = 0.3
LOOK_SECONDS = 0.15
"""Between two looks at what Cinder does; to look more often keeps it from doing it."""
AnyTenant = TypeVar("AnyTenant", bound=Tenant)


@dataclass(frozen=True)
class CinderApi:
    """Cinder's HTTP interface as one user sees it: paths in, status codes and JSON out."""

    adapter: Any

    def of(self, service: str) -> Any:
        """The same login's adapter of another service."""
        return type(self.adapter)(self.adapter.session, service_type=service, region_name=self.adapter.region_name)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        answer = self.adapter.request(path, method, json=body, raise_exc=False, microversion="3.71", headers=headers)
        return answer.status_code, answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        status, body = self.request("GET", path)
        assert status == 200, body
        return next(iter(body.values()))

    def make(self, kind: str, wanted: str = "available", **fields: Any) -> str:
        """Create a volume, snapshot, group, ...; its id, when it has the wanted status."""
        status, body = self.request("POST", f"/{kind}s", {kind: fields})
        assert status in (200, 202), body
        self.wait(f"/{kind}s/{body[kind]['id']}", wanted)
        return body[kind]["id"]

    def make_volume(self, name: str = "volume", **fields: Any) -> str:
        return self.make("volume", **{"name": name, "size": 1, **fields})

    def wait(self, path: str, wanted: str) -> None:
        _poll(lambda: self.get(path)["status"] == wanted, f"{path} to be {wanted}")

    def remove(self, kind: str, resource_id: str) -> None:
        path = f"/{kind}s/{resource_id}"
        status, body = self.request("DELETE", path)
        assert status in (200, 202, 204), body
        self.wait_gone(path)

    def wait_gone(self, path: str) -> None:
        _poll(lambda: self.request("GET", path)[0] == 404, f"{path} to be gone")

    def attach(self, volume_id: str, mode: str = "rw") -> tuple[str, str]:
        """The attachment's id and the device; in two steps, as only then the mode reaches the driver."""
        body = {"attachment": {"volume_uuid": volume_id, "mode": mode}}
        status, made = self.request("POST", "/attachments", body)
        assert status == 200, made
        path = f"/attachments/{made['attachment']['id']}"
        connector = {"host": "here", "ip": "127.0.0.1", "initiator": None, "mode": mode}
        status, connected = self.request("PUT", path, {"attachment": {"connector": connector}})
        assert status == 200, connected
        assert self.request("POST", f"{path}/action", {"os-complete": {}})[0] == 204
        return made["attachment"]["id"], connected["attachment"]["connection_info"]["device_path"]

    def detach(self, attachment_id: str) -> None:
        assert self.request("DELETE", f"/attachments/{attachment_id}")[0] == 200


def _poll(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited {WAIT_SECONDS} seconds for {what}"
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def log_in(cloud: Devcloud, user: str) -> Iterator[CinderApi]:
    with warnings.catch_warnings(action="ignore"):  # of deprecated parts of the libraries, when they are imported
        from keystoneauth1 import adapter, session  # noqa: PLC0415
        from keystoneauth1.identity import v3  # noqa: PLC0415
    entry = yaml.safe_load(cloud.clouds_yaml.read_text())["clouds"][user]
    opened = session.Session(v3.Password(**entry["auth"]))
    with contextlib.closing(opened.session):
        yield CinderApi(adapter.Adapter(opened, service_type="block-storage", region_name=entry["region_name"]))


@pytest.fixture
def login() -> Iterator[Callable[[Devcloud, str], CinderApi]]:
    """Logs a user in to a devcloud."""
    with contextlib.ExitStack() as stack:
        yield lambda cloud, user: stack.enter_context(log_in(cloud, user))


@pytest.fixture(scope="session")
def devcloud_environment(require: Callable[[str, Any, str], None]) -> Path:
    """The virtual environment of Cinder and Keystone; skips where no devcloud can run, unless cinder is required."""
    require("cinder", os.geteuid() == 0, "a devcloud needs root")
    for tool in TOOLS:
        require("cinder", shutil.which(tool), f"a devcloud needs {tool}")
    environment = Path(os.environ.get("ICEBRICK_DEVCLOUD_VENV", default_environment()))
    prepare_environment(environment)
    return environment


@pytest.fixture(scope="session")
def devcloud_folder(devcloud_environment: Path) -> Iterator[Path]:
    """Where this session's devclouds are; those of sessions that were killed are removed first."""
    this = this_process()
    for folder in FOLDER.glob("*-*"):
        pid, _, started = folder.name.partition("-")
        if process_id(int(pid)) != ProcessId(int(pid), int(started)):
            remove_devclouds(folder)
    folder = FOLDER / f"{this.pid}-{this.started}"
    folder.mkdir(parents=True)
    yield folder
    folder.rmdir()
    with contextlib.suppress(OSError):
        FOLDER.rmdir()


def remove_devclouds(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # another worker was quicker
        for directory in list(folder.iterdir()):
            Devcloud(directory).down()
        folder.rmdir()


@contextlib.contextmanager
def running(folder: Path, environment: Path, settings: Settings) -> Iterator[Devcloud]:
    cloud = Devcloud(folder, environment=environment)
    cloud.up(settings, owned=True)
    try:
        yield cloud
    finally:
        cloud.down()


@contextlib.contextmanager
def used(cloud: Devcloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Devcloud]:
    """By OpenStack clients too. It ends without faults, and the block must leave nothing on this host."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    before = cloud.footprint()
    yield cloud
    cloud.set_faults()
    assert not cloud.leaks(before)


@contextlib.contextmanager
def tidied(tenant: AnyTenant, cloud: Devcloud) -> Iterator[AnyTenant]:
    """At the end of the block the project must have the volumes that the tenant knows of, and nothing else."""
    yield tenant
    cloud.set_faults()
    unexpected = tenant.resources() - tenant.volumes
    tenant.clear()
    assert not unexpected


@pytest.fixture(scope="session")
def session_devcloud(devcloud_folder: Path, devcloud_environment: Path) -> Iterator[Devcloud]:
    """A running devcloud; its Cinder answers with three entries at a time, so that every listing has pages."""
    with running(devcloud_folder / "session", devcloud_environment, Settings(page_size=3)) as cloud:
        yield cloud


@pytest.fixture
def devcloud(session_devcloud: Devcloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Devcloud]:
    """The session's devcloud, without faults, for OpenStack clients too. The test must leave nothing on this host."""
    with used(session_devcloud, monkeypatch) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def session_compute_devcloud(devcloud_folder: Path, devcloud_environment: Path) -> Iterator[Devcloud]:
    """A devcloud with Nova."""
    with running(devcloud_folder / "compute", devcloud_environment, Settings(compute=True)) as cloud:
        yield cloud


@pytest.fixture
def compute_devcloud(session_compute_devcloud: Devcloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Devcloud]:
    """As `devcloud`, with Nova; servers may stay, and their volumes."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(session_compute_devcloud.clouds_yaml))
    yield session_compute_devcloud
    session_compute_devcloud.set_faults()


@pytest.fixture(scope="session")
def session_key_devcloud(devcloud_folder: Path, devcloud_environment: Path) -> Iterator[Devcloud]:
    """A devcloud with Barbican, and volume types luks and luks2."""
    with running(devcloud_folder / "keys", devcloud_environment, Settings(key_manager=True)) as cloud:
        yield cloud


@pytest.fixture
def key_devcloud(session_key_devcloud: Devcloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Devcloud]:
    """As `devcloud`, with Barbican."""
    with used(session_key_devcloud, monkeypatch) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def compute(session_compute_devcloud: Devcloud) -> Iterator[Compute]:
    """Nova, with alice logged in."""
    with log_in(session_compute_devcloud, "alice") as alice:
        yield Compute(alice.of("compute"))


@pytest.fixture(scope="session")
def compute_login(session_compute_devcloud: Devcloud) -> Iterator[CinderCloud]:
    """Alice, where there is Nova."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(session_compute_devcloud.clouds_yaml))
        pace = Pace(first=LOOK_SECONDS, longest=0.4, work=60, settle=30)
        with contextlib.closing(connect("alice", pace=pace)) as cloud:
            yield cloud


@pytest.fixture(scope="session")
def root(compute_login: CinderCloud) -> str:
    """A volume that a server can start from."""
    bootable = VolumeSettings("root", "", {}, {}, bootable=True, read_only=False)
    return compute_login.apply_settings(compute_login.create_volume(VolumeSpec("root", 1)).id, bootable).id


@pytest.fixture(scope="session")
def server(compute: Compute, root: str) -> str:
    """A running server, with one volume, its root."""
    return compute.start_server(root)


@pytest.fixture
def tenant(devcloud: Devcloud, login: Callable[[Devcloud, str], CinderApi]) -> Iterator[Tenant]:
    """Alice. At the end of a test her project must have the volumes that she knows of, and nothing else."""
    with tidied(Tenant(login(devcloud, "alice"), devcloud.layout.pool), devcloud) as alice:
        yield alice


@pytest.fixture
def admin(devcloud: Devcloud, login: Callable[..., Any]) -> Any:
    """An administrator of alice's project."""
    return login(devcloud, "anna")


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied: making its directories durable takes a while."""
    path = tmp_path_factory.mktemp("template") / "repository"
    init_repository(LocalBackend(path), Secret(PASSWORD), parameters=ScryptParameters(n=2))
    return path


@pytest.fixture
def agent(
    devcloud: Devcloud,
    empty_repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Agent]:
    """Icebrick's command, logged in as alice, with a new repository. It gives up soon what nobody answers."""
    repository = tmp_path / "repository"
    shutil.copytree(empty_repository, repository)
    monkeypatch.setenv("OS_CLOUD", "alice")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repository))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    monkeypatch.setenv("ICEBRICK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RESTIC_PASSWORD_FILE", "ICEBRICK_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("icebrick.cloud.wait.Pace", lambda: Pace(first=LOOK_SECONDS, longest=0.4, settle=2, attempts=2))
    root, ours = logging.getLogger(), logging.getLogger("icebrick")
    before = (root.handlers, root.level, ours.level)
    yield Agent(capsys, repository)
    root.handlers, level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)
