"""Swift: addresses, logins, and what servers answer when they are in trouble."""

from __future__ import annotations

import hashlib
import json
import ssl

import pytest
import trustme
from tests.unit.backend.scripted import Reply, scripted

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.location import parse_location
from icebrick.backend.options import BackendOptions
from icebrick.backend.swift.backend import open_swift
from icebrick.backend.swift.login import Access, SwiftLogin
from icebrick.errors import AccessDeniedError, BackendError, BackendUnavailableError, StorageFullError, UsageError

ID = "ab" + "0" * 62
PACK = Handle(FileType.PACK, ID)
KEY = Handle(FileType.KEY, ID)


@pytest.fixture
def server():
    with scripted() as script:
        yield script


@pytest.fixture
def opened(server):
    made = []

    def opened(location="swift:box:/a/b", environment=None, **options):
        values = {f"swift.{name}": value for name, value in options.items()}
        known = {"OS_STORAGE_URL": f"{server.url}/v1/AUTH_x/", "OS_AUTH_TOKEN": "token"}
        made.append(open_swift(parse_location(location), BackendOptions(values, environment=environment or known)))
        return made[-1]

    yield opened
    for backend in made:
        backend.close()


def own(server):
    return {"ST_AUTH": f"{server.url}/auth/v1.0", "ST_USER": "user", "ST_KEY": "secret"}


def logged_in(server, token="t1"):
    return Reply(200, headers={"X-Storage-Url": f"{server.url}/v1/AUTH_y", "X-Auth-Token": token})


def listing(*entries):
    return Reply(200, json.dumps([{"name": name, "bytes": size} for name, size in entries]).encode())


def keystone_token(server, token="k1", region="R"):
    endpoints = [
        {"interface": kind, "region": each, "region_id": each, "id": kind, "url": f"{server.url}/{each}/{kind}"}
        for kind in ("public", "internal")
        for each in ("R", "Q")
    ]
    catalog = [{"type": "object-store", "name": "swift", "id": "s", "endpoints": endpoints}]
    body = {"token": {"methods": [], "expires_at": "2999-01-01T00:00:00.0Z", "user": {}, "catalog": catalog}}
    return Reply(201, json.dumps(body).encode(), {"X-Subject-Token": token, "Content-Type": "application/json"})


def keystone(server, **more):
    account = {"OS_AUTH_URL": f"{server.url}/v3", "OS_USERNAME": "user", "OS_PASSWORD": "secret"}
    return {**account, "OS_PROJECT_NAME": "project", **more}


# Files


def test_a_file_goes_below_the_prefix_with_a_digest_in_one_request(server, opened):
    server.says(Reply(201))
    opened().save(PACK, memoryview(b"pack"))
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.body) == ("PUT", f"/v1/AUTH_x/box/a/b/data/ab/{ID}", b"pack")
    assert seen.headers["ETag"] == hashlib.md5(b"pack").hexdigest()
    assert seen.headers["X-Auth-Token"] == "token"


@pytest.mark.parametrize(
    ("address", "path"),
    [("box:/", "box/config"), ("box:/a//b/", "box/a/b/config"), ("my box:/ü", "my%20box/%C3%BC/config")],
)
def test_addresses_are_read_as_restic_reads_them(server, opened, address, path):
    server.says(Reply(200, b"config"))
    opened(f"swift:{address}").load(Handle(FileType.CONFIG))
    assert server.seen[0].path == f"/v1/AUTH_x/{path}"


@pytest.mark.parametrize("address", ["", "box", ":/a", "box:", "box:a", "b/ox:/a"])
def test_an_address_without_a_container_is_a_mistake(opened, address):
    with pytest.raises(UsageError, match="names no container"):
        opened(f"swift:{address}")


def test_a_long_listing_comes_page_by_page(server, opened):
    names = [f"a/b/keys/{number:064x}" for number in range(3)]
    server.says(listing((names[0], 4), (f"{names[0]}junk", 1)), listing((names[2], 5)), listing())
    found = list(opened().list_files(FileType.KEY))
    assert found == [FileInfo(Handle(FileType.KEY, name[-64:]), size) for name, size in ((names[0], 4), (names[2], 5))]
    assert [each.path.rpartition("marker=")[2][-4:] for each in server.seen] == ["", "junk", "0002"]


def test_a_listing_that_does_not_go_on_ends_with_an_error(server, opened):
    server.says(listing(("a/b/keys/x", 4)), listing(("a/b/keys/x", 4)))
    with pytest.raises(BackendError, match="does not go on"):
        list(opened().list_files(FileType.KEY))


@pytest.mark.parametrize("body", [b"{", b"[1]", b'[{"name": "x"}]', b'{"name": 1}', b"7"])
def test_an_answer_that_is_no_listing_is_an_error(server, opened, body):
    server.says(Reply(200, body))
    with pytest.raises(BackendError, match="no listing"):
        list(opened().list_files(FileType.KEY))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (404, BackendError),
        (408, BackendUnavailableError),
        (413, StorageFullError),
        (422, BackendUnavailableError),
        (503, BackendUnavailableError),
        (507, StorageFullError),
    ],
)
def test_a_save_that_fails_tells_why(server, opened, status, error):
    server.says(Reply(status), Reply(status))
    with pytest.raises(error, match=f"cannot save data/{ID} at swift:box:/a/b") as caught:
        opened().save(PACK, b"pack")
    assert type(caught.value) is error


def test_a_container_that_is_missing_is_made_and_removed_by_who_made_it(server, opened):
    server.says(Reply(404), Reply(201), Reply(204))
    known = {"OS_STORAGE_URL": server.url, "OS_AUTH_TOKEN": "t", "SWIFT_DEFAULT_CONTAINER_POLICY": "gold"}
    backend = opened(environment=known)
    backend.create()
    assert backend.discard()
    assert [(each.method, each.path) for each in server.seen[1:]] == [("PUT", "/box"), ("DELETE", "/box")]
    assert server.seen[1].headers["X-Storage-Policy"] == "gold"


@pytest.mark.parametrize("status", [204, 403])
def test_a_container_that_is_there_or_may_not_be_asked_for_stays(server, opened, status):
    server.says(Reply(status))
    backend = opened()
    backend.create()
    assert backend.discard()
    assert [each.method for each in server.seen] == ["HEAD"]


# Logins


def test_swifts_own_login_names_the_account(server, opened):
    server.says(logged_in(server), Reply(200, b"config"))
    assert opened(environment=own(server)).load(Handle(FileType.CONFIG)) == b"config"
    login, load = server.seen
    assert (login.headers["X-Auth-User"], login.headers["X-Auth-Key"]) == ("user", "secret")
    assert (load.path, load.headers["X-Auth-Token"]) == ("/v1/AUTH_y/box/a/b/config", "t1")


def test_a_token_that_is_refused_is_renewed_once_and_the_file_sent_again(server, opened):
    server.says(logged_in(server), Reply(401), logged_in(server, "t2"), Reply(201))
    opened(environment=own(server)).save(PACK, b"pack")
    assert [each.headers.get("X-Auth-Token") for each in server.seen] == [None, "t1", None, "t2"]
    assert server.seen[-1].body == b"pack"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(401), AccessDeniedError),
        (Reply(503), BackendUnavailableError),
        (Reply(200), BackendError),
        (Reply(404), BackendError),
    ],
)
def test_a_login_that_fails_tells_why(server, opened, reply, error):
    server.says(reply)
    with pytest.raises(error, match="cannot log in to Swift") as caught:
        opened(environment=own(server)).stat(PACK)
    assert "secret" not in str(caught.value)


def test_keystone_tells_the_account_of_the_region_and_interface_that_are_named(server, opened):
    server.says(Reply(404), keystone_token(server), Reply(200, b"config"))
    named = keystone(server, OS_REGION_NAME="Q", OS_ENDPOINT_TYPE="internalURL")
    assert opened(environment=named).load(Handle(FileType.CONFIG)) == b"config"
    asked = json.loads(server.seen[1].body)["auth"]
    assert asked["identity"]["password"]["user"] == {"name": "user", "password": "secret", "domain": {"id": "default"}}
    assert (server.seen[2].path, server.seen[2].headers["X-Auth-Token"]) == ("/Q/internal/box/a/b/config", "k1")


def test_an_application_credential_needs_no_project_and_no_version_in_the_address(server, opened):
    server.says(keystone_token(server), Reply(200, b"config"))
    secret = {"OS_APPLICATION_CREDENTIAL_ID": "id", "OS_APPLICATION_CREDENTIAL_SECRET": "secret"}
    opened(environment={"OS_AUTH_URL": server.url, **secret}).load(Handle(FileType.CONFIG))
    assert server.seen[0].path == "/v3/auth/tokens"
    assert json.loads(server.seen[0].body)["auth"]["identity"]["application_credential"]["secret"] == "secret"


def test_a_token_of_keystone_that_is_refused_is_renewed(server, opened):
    server.says(Reply(404), keystone_token(server), Reply(401), keystone_token(server, "k2"), Reply(201))
    opened(environment=keystone(server)).save(PACK, b"pack")
    assert [each.headers.get("X-Auth-Token") for each in server.seen][2:] == ["k1", None, "k2"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [(Reply(401), AccessDeniedError), (Reply(503), BackendUnavailableError), (Reply(429), BackendUnavailableError)],
)
def test_a_login_to_keystone_that_fails_tells_why(server, opened, reply, error):
    server.says(Reply(404), reply)
    with pytest.raises(error, match="cannot log in to Swift") as caught:
        opened(environment=keystone(server)).stat(PACK)
    assert "secret" not in str(caught.value)


def test_a_keystone_that_is_not_there_may_come(opened):
    nowhere = keystone(type("Nowhere", (), {"url": "http://127.0.0.1:1"}))
    with pytest.raises(BackendUnavailableError, match="connection refused"):
        opened(environment=nowhere).stat(PACK)


def test_a_region_that_is_not_in_the_catalog_is_final(server, opened):
    server.says(Reply(404), keystone_token(server))
    with pytest.raises(BackendError, match="in nowhere region not found") as caught:
        opened(environment=keystone(server, OS_REGION_NAME="nowhere")).stat(PACK)
    assert not caught.value.retryable


def write_cloud(server, folder, monkeypatch, **more):
    login = {"auth_url": f"{server.url}/v3", "username": "u", "password": "p", "project_name": "x"}
    auth = {**login, "user_domain_id": "default", "project_domain_id": "default"}
    cloud = {"auth": auth, "region_name": "Q", **more}
    (folder / "clouds.yaml").write_text(json.dumps({"clouds": {"far": cloud}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(folder / "clouds.yaml"))


def test_a_cloud_of_clouds_yaml_is_taken_by_its_name(server, opened, tmp_path, monkeypatch):
    write_cloud(server, tmp_path, monkeypatch)
    server.says(Reply(404), keystone_token(server), Reply(200, b"config"))
    opened(cloud="far").load(Handle(FileType.CONFIG))
    assert server.seen[-1].path == "/Q/public/box/a/b/config"


@pytest.mark.parametrize("way", ["openrc", "clouds.yaml"])
def test_the_authority_that_is_named_for_keystone_is_trusted_for_swift(opened, tmp_path, monkeypatch, way):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with scripted(context) as server:
        server.says(Reply(404), keystone_token(server), Reply(200, b"config"))
        if way == "openrc":
            backend = opened(environment=keystone(server, OS_REGION_NAME="R", OS_CACERT=str(tmp_path / "ca.pem")))
        else:
            write_cloud(server, tmp_path, monkeypatch, cacert=str(tmp_path / "ca.pem"))
            backend = opened(cloud="far")
        assert backend.load(Handle(FileType.CONFIG)) == b"config"
        backend.close()


@pytest.mark.parametrize(
    "environment",
    [
        {"ST_USER": "user"},
        {"OS_AUTH_URL": "http://h/v3", "OS_AUTH_TYPE": "nonsense"},
        {"OS_AUTH_URL": "http://h/v3", "OS_APPLICATION_CREDENTIAL_ID": "id"},
    ],
)
def test_a_login_that_cannot_be_is_a_mistake(opened, environment):
    with pytest.raises(UsageError):
        opened(environment=environment)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("lives", "used"), [(3600.0, 3480.0), (100.0, 50.0)])
def test_a_token_is_not_used_until_its_very_end(lives, used):
    clock, tokens, forgotten = Clock(), iter("abc"), []
    login = SwiftLogin(lambda: Access("url", next(tokens), lives), lambda: forgotten.append(clock.now), clock)
    assert login.access().token == "a"
    clock.now += used - 1
    assert login.access().token == "a"
    clock.now += 1
    assert login.access().token == "b"
    assert forgotten == [1000.0 + used]


def test_what_another_thread_has_renewed_is_not_renewed_again():
    tokens = iter("abc")
    login = SwiftLogin(lambda: Access("url", next(tokens)))
    refused = login.access()
    assert [login.renewed(refused).token, login.renewed(refused).token] == ["b", "b"]
