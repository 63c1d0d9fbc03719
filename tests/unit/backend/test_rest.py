"""restic's REST protocol, where servers differ; what all must do is in the contract suite."""

from __future__ import annotations

import json

import pytest
from tests.unit.backend.scripted import Reply, scripted

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.location import parse_location
from icebrick.backend.options import BackendOptions
from icebrick.backend.rest import open_rest
from icebrick.errors import AccessDeniedError, BackendError, BackendUnavailableError, StorageFullError, UsageError

ID = "ab" + "0" * 62
PACK = Handle(FileType.PACK, ID)
V2 = {"Content-Type": "application/vnd.x.restic.rest.v2"}


@pytest.fixture
def server():
    with scripted() as script:
        yield script


@pytest.fixture
def rest(server):
    backend = opened(f"rest:{server.url}/repo")
    yield backend
    backend.close()


def opened(location, **environment):
    return open_rest(parse_location(location), BackendOptions(environment=environment))


def calls(server):
    return [(each.method, each.path) for each in server.seen]


def listing(entries, headers):
    return Reply(200, json.dumps(entries).encode(), headers)


def test_files_are_where_the_protocol_has_them(rest, server):
    server.says(Reply(), Reply(), Reply(200, b"config"))
    rest.create()
    rest.save(PACK, b"pack")
    rest.load(Handle(FileType.CONFIG))
    assert calls(server) == [("POST", "/repo/?create=true"), ("POST", f"/repo/data/{ID}"), ("GET", "/repo/config")]
    assert server.seen[1].body == b"pack"


@pytest.mark.parametrize("entries", [None, [], [{"name": "junk", "size": 1}, {"name": ID, "size": -1}]])
def test_a_listing_passes_over_what_is_no_file(rest, server, entries):
    server.says(listing(entries, V2))
    assert list(rest.list_files(FileType.PACK)) == []


def test_a_listing_of_the_first_version_asks_for_each_size(rest, server):
    server.says(listing([ID, "junk", "c" * 64], {}), Reply(200, b"four"), Reply(404))
    assert list(rest.list_files(FileType.PACK)) == [FileInfo(PACK, 4)]
    assert server.seen[0].headers["Accept"] == V2["Content-Type"]


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'["x"]', b"[" * 100_000])
def test_an_answer_that_is_no_listing_is_an_error(rest, server, body):
    server.says(Reply(200, body, V2))
    with pytest.raises(BackendError, match=r"cannot list data at rest:.*no listing"):
        list(rest.list_files(FileType.PACK))


def test_a_directory_that_is_not_there_is_empty(rest, server):
    server.says(Reply(404))
    assert list(rest.list_files(FileType.PACK)) == []


def test_rclones_answer_to_any_failure_of_a_listing_is_not_taken_for_an_empty_directory(rest, server):
    server.says(Reply(404, headers={"Server": "rclone/v1.60"}))
    with pytest.raises(BackendUnavailableError):
        list(rest.list_files(FileType.PACK))


def test_what_a_server_that_only_adds_has_already_is_saved(rest, server):
    server.says(Reply(403), Reply(200, b"pack"), Reply(200, b"pack"))
    rest.save(PACK, memoryview(b"pack"))


@pytest.mark.parametrize("there", [b"peck", b"pac", b"packs"])
def test_something_else_under_the_name_is_no_success(rest, server, there):
    server.says(Reply(403), Reply(200, there), Reply(200, there))
    with pytest.raises(AccessDeniedError):
        rest.save(PACK, b"pack")


@pytest.mark.parametrize(("status", "error"), [(500, BackendUnavailableError), (507, StorageFullError)])
def test_what_a_server_kept_of_a_file_it_could_not_finish_is_removed(rest, server, status, error):
    server.says(Reply(status), Reply())
    with pytest.raises(error):
        rest.save(PACK, b"pack")
    assert calls(server)[-1] == ("DELETE", f"/repo/data/{ID}")


def test_a_config_that_may_be_whole_is_not_removed(rest, server):
    server.says(Reply(500))
    with pytest.raises(BackendUnavailableError):
        rest.save(Handle(FileType.CONFIG), b"config")
    assert len(server.seen) == 1


def test_the_login_of_the_location_is_sent_and_not_shown(server):
    server.says(Reply(200, b"config"))
    backend = opened(f"rest:{server.url.replace('//', '//us%65r:pass:w%40rd@')}/repo/")
    backend.load(Handle(FileType.CONFIG))
    backend.close()
    assert server.seen[0].headers["Authorization"] == "Basic dXNlcjpwYXNzOndAcmQ="
    assert "pass" not in backend.location


def test_the_login_may_be_in_the_environment(server):
    server.says(Reply(200, b"config"))
    backend = opened(f"rest:{server.url}/", RESTIC_REST_USERNAME="user", RESTIC_REST_PASSWORD="pass:w@rd")
    backend.load(Handle(FileType.CONFIG))
    backend.close()
    assert server.seen[0].headers["Authorization"] == "Basic dXNlcjpwYXNzOndAcmQ="


@pytest.mark.parametrize(
    "address", ["", "host/path", "ftp://host/", "http://", "http:///path", "http+unix:///socket:/"]
)
def test_an_address_without_a_server_is_a_mistake(address):
    with pytest.raises(UsageError, match="no address of a server"):
        opened(f"rest:{address}")


@pytest.mark.parametrize("address", ["https://user:secret@[broken/", "https://user:secret@host:port/"])
def test_an_address_that_cannot_be_is_a_mistake_without_its_secret(address):
    with pytest.raises(UsageError) as caught:
        opened(f"rest:{address}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("number", ["0", "x", "-1", "1001"])
def test_a_number_of_connections_that_cannot_be_is_a_mistake(number):
    with pytest.raises(UsageError, match="connections must be"):
        open_rest(parse_location("rest:http://h/"), BackendOptions({"rest.connections": number}))
