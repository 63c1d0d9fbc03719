"""Swift with a real Keystone: users, application credentials, tokens that end before their time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.conftest import log_in
from tests.integration.credentials import application_credential

from icebrick.backend.base import FileType, Handle
from icebrick.backend.location import Location
from icebrick.backend.media import open_backend
from icebrick.backend.options import BackendOptions
from icebrick.devcloud.devcloud import Devcloud
from icebrick.errors import AccessDeniedError
from icebrick.repository.check.check import check_repository
from icebrick.repository.repository import open_repository
from icebrick.testing.images import PASSWORD, small_repository
from icebrick.testing.restic import Restic
from icebrick.testing.servers.processes import HOST
from icebrick.testing.servers.server import Place, StorageServer
from icebrick.testing.servers.swift import KeystoneLogin, serving_keystone

pytestmark = pytest.mark.slow

FILE = Handle(FileType.PACK, "ab" * 32)


def account(devcloud: Devcloud, user: str) -> dict[str, str]:
    """How the user logs in, by the names of clouds.yaml."""
    return dict(yaml.safe_load(devcloud.clouds_yaml.read_text())["clouds"][user]["auth"])


def variables(auth: Mapping[str, str]) -> dict[str, str]:
    """The same for the environment."""
    return {f"OS_{name.upper()}": value for name, value in auth.items()} | {"OS_REGION_NAME": "RegionOne"}


@pytest.fixture(scope="module")
def server(swift_installed: None, session_devcloud: Devcloud, server_folder: Path) -> Iterator[StorageServer]:
    """A Swift that asks the devcloud's Keystone, and is in its catalog."""
    service = account(session_devcloud, "cinder")  # whose role lets it ask about tokens
    login = KeystoneLogin(service["auth_url"], service["username"], service["password"], service["project_name"])
    alice = BackendOptions(environment=variables(account(session_devcloud, "alice")))
    with (
        serving_keystone(
            server_folder / "swift-keystone", login, lambda _port, name: Place(Location("swift", f"{name}:/"), alice)
        ) as server,
        in_catalog(session_devcloud, f"http://{HOST}:{server.port}/v1/AUTH_%(project_id)s"),
    ):
        yield server


@contextmanager
def in_catalog(devcloud: Devcloud, url: str) -> Iterator[None]:
    """As long as the block runs, as other tests share the devcloud."""
    with log_in(devcloud, "admin") as admin, ExitStack() as undo:
        keystone = admin.of("identity")

        def make(kind: str, **fields: Any) -> str:
            made = keystone.post(f"/{kind}s", json={kind: fields}).json()[kind]["id"]
            undo.callback(keystone.delete, f"/{kind}s/{made}")
            return str(made)

        service = make("service", type="object-store", name="swift")
        make("endpoint", service_id=service, interface="public", region_id="RegionOne", url=url)
        yield


def test_restic_and_icebrick_share_a_repository_of_one_user(server: StorageServer, restic: str) -> None:
    place = server.place("shared")
    with closing(open_backend(place.location, place.options)) as backend:
        small_repository(backend)
        program = place.restic(restic, PASSWORD.reveal())
        program.run("backup", __file__)
        program.run("check", "--read-data")
        assert check_repository(open_repository(backend, PASSWORD), read_data=True).problems == ()


def test_an_application_credential_opens_what_its_user_has_stored(
    server: StorageServer, session_devcloud: Devcloud, restic: str
) -> None:
    place = server.place("credential")
    with closing(open_backend(place.location, place.options)) as backend:
        small_repository(backend)
    login = variables(application_credential(session_devcloud, "alice", "member")["auth"])
    with closing(open_backend(place.location, BackendOptions(environment=login))) as backend:
        assert open_repository(backend, PASSWORD)
        backend.save(FILE, b"pack")
    program = Restic(restic, place.text, PASSWORD.reveal(), (), login)
    assert FILE.name in program.run("list", "packs", "--no-lock")


def test_another_token_is_asked_for_when_one_is_revoked(
    server: StorageServer, session_devcloud: Devcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = noted_tokens(monkeypatch)
    place = server.place("revoked")
    with closing(open_backend(place.location, place.options)) as backend:
        backend.create()
        backend.save(FILE, b"before")
        with log_in(session_devcloud, "admin") as admin:
            assert admin.of("identity").delete("/auth/tokens", headers={"X-Subject-Token": tokens[-1]}).ok
        assert backend.load(FILE) == b"before"
    assert len(set(tokens)) == 2


def test_a_user_without_a_role_there_is_refused(server: StorageServer, session_devcloud: Devcloud) -> None:
    options = BackendOptions(environment=variables(account(session_devcloud, "rita")))  # who may only read Cinder's
    with closing(open_backend(server.place("refused").location, options)) as backend, pytest.raises(AccessDeniedError):
        backend.save(FILE, b"pack")


def noted_tokens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every token that the library has answered, as it does."""
    with warnings.catch_warnings(action="ignore"):
        from keystoneauth1.session import Session  # noqa: PLC0415
    tokens: list[str] = []
    get_token = Session.get_token

    def noted(session: Any, *arguments: Any, **named: Any) -> Any:
        tokens.append(get_token(session, *arguments, **named))
        return tokens[-1]

    monkeypatch.setattr(Session, "get_token", noted)
    return tokens
