"""Requests over HTTP: each failure becomes the error that tells whether trying again can help."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme
from tests.unit.backend.scripted import Reply, scripted

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.http.client import HttpClient, HttpSettings, Request, split_login
from icebrick.backend.http.files import HttpFile
from icebrick.backend.http.proxies import proxy_of
from icebrick.backend.http.status import check
from icebrick.backend.remotefile import load_file
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    ShortReadError,
    StorageFullError,
    UsageError,
)

PACK = Handle(FileType.PACK, "ab" + "0" * 62)


def client(**settings):
    values = {"ca_file": None, "client_certificate": None, "environment": {}, **settings}
    return HttpClient(HttpSettings(**values))


@pytest.fixture
def server():
    with scripted() as script:
        yield script


@pytest.fixture
def http():
    made = client(answer_seconds=5.0)
    yield made
    made.close()


def asked(http, server, method="GET", **rest):
    request = Request(method, f"{server.url}/file", "load the file")
    answer = http.send(request, {}, **rest)
    check(answer, request.doing)
    return answer.body


def file_of(http, server):
    return HttpFile(PACK, f"{PACK} at rest:x", f"{server.url}/file", http.send)


def ranged(first, body, total):
    return Reply(206, body, {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{total}"})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BackendError),
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (404, FileMissingError),
        (408, BackendUnavailableError),
        (413, StorageFullError),
        (416, ShortReadError),
        (422, BackendUnavailableError),
        (429, BackendUnavailableError),
        (500, BackendUnavailableError),
        (501, BackendError),
        (503, BackendUnavailableError),
        (507, StorageFullError),
    ],
)
def test_a_status_becomes_the_error_that_it_means(http, server, status, error):
    server.says(Reply(status))
    with pytest.raises(error) as caught:
        asked(http, server)
    assert type(caught.value) is error
    assert str(caught.value) == f"cannot load the file: no reason given (HTTP {status})"


@pytest.mark.parametrize(("said", "seconds"), [("30", 30.0), ("0.5", 0.5), ("soon", None), ("-1", None), ("nan", None)])
def test_a_server_tells_how_long_to_wait(http, server, said, seconds):
    server.says(Reply(503, headers={"Retry-After": said}))
    with pytest.raises(BackendUnavailableError) as caught:
        asked(http, server)
    assert caught.value.retry_after == seconds


def test_what_the_server_says_is_told_without_what_could_steer_a_terminal(http, server):
    server.says(Reply(400, b"no \x1b[31mroom\nmore", {"Content-Type": "text/plain; charset=utf-8"}))
    with pytest.raises(BackendError, match=r"cannot load the file: no \[31mroom \(HTTP 400\)"):
        asked(http, server)


def test_a_redirect_is_an_error_that_names_the_other_host(http, server):
    server.says(Reply(302, headers={"Location": "http://elsewhere.example/x?token=1"}))
    with pytest.raises(BackendError, match=r"points to elsewhere\.example ") as caught:
        asked(http, server)
    assert not caught.value.retryable


def test_an_answer_that_breaks_off_is_a_short_read(http, server):
    server.says(Reply(200, b"0123456789", cut=4))
    with pytest.raises(ShortReadError, match="breaks off"):
        asked(http, server)


def test_an_answer_of_unknown_length_is_refused(http, server):
    server.says(Reply(200, b"0123456789", {"Content-Length": ""}, cut=10))
    with pytest.raises(BackendError, match="how long"):
        asked(http, server)


def test_more_than_was_asked_for_is_refused_before_it_is_read(http, server):
    server.says(Reply(200, b"0123456789"))
    with pytest.raises(BackendError, match="more than the 4 bytes"):
        asked(http, server, at_most=4)


@pytest.mark.parametrize("length", [str(1 << 40), "9" * 18])
def test_a_file_that_would_take_all_memory_is_refused_before_it_is_read(http, server, length):
    server.says(Reply(200, b"", {"Content-Length": length}, cut=0))
    with pytest.raises(BackendError, match="more than"):
        load_file(file_of(http, server), 0, None)


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "x", "1_0"])
def test_a_length_that_is_no_number_is_refused(http, server, length):
    server.says(Reply(200, b"", {"Content-Length": length}, cut=0))
    with pytest.raises(BackendError):
        file_of(http, server).examine()


def test_an_answer_in_chunks_needs_no_length_but_may_not_be_longer(http, server):
    chunks = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    server.says(Reply(200, b"4\r\nabcd\r\n0\r\n\r\n", chunks), Reply(200, b"5\r\nabcde\r\n0\r\n\r\n", chunks))
    assert asked(http, server, at_most=4) == b"abcd"
    with pytest.raises(BackendError, match="more than the 4 bytes"):
        asked(http, server, at_most=4)


def test_an_answer_in_chunks_that_breaks_off_is_no_whole_one(http, server):
    server.says(Reply(200, b"4\r\nabcd\r\n", {"Content-Length": "", "Transfer-Encoding": "chunked"}, cut=100))
    with pytest.raises(BackendError) as caught:
        asked(http, server)
    assert caught.value.retryable


def test_a_connection_serves_many_requests_even_after_errors(http, server):
    server.says(Reply(404), Reply(500, b"x" * 200_000), Reply(200, b"third"))
    for error in (FileMissingError, BackendUnavailableError):
        with pytest.raises(error):
            asked(http, server)
    assert asked(http, server) == b"third"


def test_nobody_listening_may_pass(http):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(BackendUnavailableError, match="cannot look: connection refused"):
            http.send(Request("GET", url, "look"), {})


def test_a_server_that_keeps_silent_is_given_up():
    impatient = client(answer_seconds=0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(BackendUnavailableError, match="does not answer"):
            impatient.send(Request("GET", url, "look"), {})
    impatient.close()


def test_an_address_that_is_no_url_is_a_mistake(http):
    with pytest.raises(UsageError, match="no URL"):
        http.send(Request("GET", "http://[broken/", "look"), {})


# Ranges


@pytest.mark.parametrize(
    ("offset", "length", "header"), [(0, 4, "bytes=0-3"), (2, 4, "bytes=2-5"), (2, None, "bytes=2-")]
)
def test_a_range_is_asked_for_as_http_has_it(http, server, offset, length, header):
    server.says(ranged(offset, b"abcd", 6))
    assert load_file(file_of(http, server), offset, length) == b"abcd"
    assert server.seen[0].headers["Range"] == header


@pytest.mark.parametrize(
    "reply",
    [ranged(1, b"abcd", 9), Reply(206, b"abcd"), Reply(206, b"abcd", {"Content-Range": "bytes 2-6/9"}), Reply(200)],
    ids=["another place", "no place", "another length", "no range at all"],
)
def test_another_range_than_was_asked_for_is_refused(http, server, reply):
    server.says(reply)
    with pytest.raises(BackendError) as caught:
        load_file(file_of(http, server), 2, 4)
    assert not caught.value.retryable


@pytest.mark.parametrize("reply", [ranged(2, b"ab", 4), Reply(206, b"", {"Content-Range": "bytes 2-1/2"})])
def test_a_range_that_the_file_does_not_have_is_a_short_read(http, server, reply):
    server.says(reply)
    with pytest.raises(ShortReadError):
        load_file(file_of(http, server), 2, 4)


def test_an_empty_range_asks_only_for_the_size(http, server):
    server.says(Reply(200, b"abcd"))
    assert load_file(file_of(http, server), 4, 0) == b""
    assert [each.method for each in server.seen] == ["HEAD"]


def test_the_rest_after_the_last_byte_is_empty(http, server):
    server.says(Reply(416), Reply(200, b"abcd"))
    assert load_file(file_of(http, server), 4, None) == b""


def test_a_size_comes_without_the_content(http, server):
    server.says(Reply(200, b"abcd"))
    assert file_of(http, server).examine() == FileInfo(PACK, 4)


def test_a_server_that_tells_no_size_is_refused(http, server):
    server.says(Reply(200, headers={"Content-Length": ""}))
    with pytest.raises(BackendError, match="its size"):
        file_of(http, server).examine()


# TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls_server(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with scripted(context) as script:
        yield script


@pytest.fixture
def ca_file(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


def test_a_server_is_trusted_by_the_authority_that_is_named(tls_server, ca_file):
    tls_server.says(Reply(200, b"content"))
    http = client(ca_file=ca_file)
    assert asked(http, tls_server) == b"content"
    http.close()


def test_a_certificate_of_an_unknown_authority_is_final_and_tells_the_option(tls_server):
    with pytest.raises(BackendError, match="not to be trusted") as caught:
        asked(client(), tls_server)
    assert not caught.value.retryable
    assert "--cacert" in caught.value.hint


def test_a_server_without_tls_is_final(server):
    server.url = server.url.replace("http:", "https:")
    with pytest.raises(BackendError) as caught:
        asked(client(), server)
    assert not caught.value.retryable
    assert "speaks TLS" in caught.value.hint


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["missing", "empty", "junk"])
def test_a_file_without_certificates_is_a_mistake(tls_server, tmp_path, content):
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot take certificates from .*ca\.pem"):
        asked(client(ca_file=tmp_path / "ca.pem"), tls_server)


def test_a_client_certificate_is_shown(authority, ca_file, tmp_path):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("agent").private_key_and_cert_chain_pem.write_to_path(tmp_path / "agent.pem")
    with scripted(context) as script:
        script.says(Reply(200, b"content"))
        known = client(ca_file=ca_file, client_certificate=tmp_path / "agent.pem")
        assert asked(known, script) == b"content"
        known.close()


# Addresses


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://far/x", {}, None),
        ("https://far/x", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("http://far/x", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://far/x", {"https_proxy": "http://q:1", "HTTPS_PROXY": "http://p:1"}, "http://q:1"),
        ("https://127.0.0.1:9/x", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://s.far.org/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "near, .far.org"}, None),
        ("https://sofar.org/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "near,far.org"}, "http://p:1"),
        ("https://10.1.2.3/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://far/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
    ],
)
def test_proxies_come_from_the_environment(url, environment, proxy):
    assert proxy_of(url, environment) == proxy


def test_a_proxy_is_asked_with_its_own_login(server):
    server.says(Reply(200, b"content"))
    proxied = client(environment={"HTTP_PROXY": server.url.replace("//", "//us%40er:p%3Aw@")})
    assert proxied.send(Request("GET", "http://far.example/x", "look"), {}).body == b"content"
    assert server.seen[0].path == "http://far.example/x"
    assert server.seen[0].headers["proxy-authorization"] == "Basic dXNAZXI6cDp3"
    proxied.close()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://h/p/", ("https://h/p/", None, None)),
        ("https://u@h:1/p/", ("https://h:1/p/", "u", None)),
        ("https://u:p%40%2F@h/", ("https://h/", "u", "p@/")),
        ("https://u:a@b:c@h/", ("https://h/", "u", "a@b:c")),
    ],
)
def test_a_login_is_taken_out_of_an_address(url, parts):
    assert split_login(url) == parts
