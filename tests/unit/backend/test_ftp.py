"""Locations of FTP and how listings and refusals are read; the rest is tested on servers with the other media."""

from __future__ import annotations

import ssl

import pytest

from icebrick.backend.ftp.backend import open_ftp, server_of
from icebrick.backend.location import parse_location
from icebrick.backend.options import BackendOptions
from icebrick.errors import UsageError


def server(text, **environment):
    return server_of(parse_location(text), BackendOptions(environment=environment))


@pytest.mark.parametrize(
    ("text", "host", "port", "user", "root"),
    [
        ("ftp://host/repo", "host", 21, "anonymous", "repo"),
        ("ftp://ann@host:2121/a/b/", "host", 2121, "ann", "a/b"),
        ("ftp://ann@host//srv//repo", "host", 21, "ann", "/srv/repo"),
        ("ftps://ann%40example.org@host/a%20b?c", "host", 21, "ann@example.org", "a b?c"),
        ("ftp://[2001:db8::1]:21/repo", "2001:db8::1", 21, "anonymous", "repo"),
    ],
)
def test_a_location_says_host_port_user_and_path(text, host, port, user, root):
    found = server(text)
    assert (found.host, found.port, found.user, found.root) == (host, port, user, root)


@pytest.mark.parametrize(
    "text",
    [
        "ftp:",
        "ftp:host/repo",
        "ftp://host",
        "ftp://host/",
        "ftp:///repo",
        "ftp://host:x/repo",
        "ftp://host/a%0D%0ADELE x",
    ],
)
def test_a_location_that_cannot_be_meant_is_an_error_with_a_hint(text):
    with pytest.raises(UsageError) as caught:
        server(text)
    assert caught.value.hint


def test_no_line_of_its_own_gets_to_the_server_from_a_user_s_name():
    with pytest.raises(UsageError):
        server("ftp://ann%0D%0ADELE%20x@host/repo")


def test_the_location_s_password_is_taken_before_the_environment_s():
    assert server("ftp://ann:hun%2Fter2@host/repo", FTP_PASSWORD="other").password.reveal() == "hun/ter2"
    assert server("ftp://ann@host/repo", FTP_PASSWORD="hunter2").password.reveal() == "hunter2"
    assert server("ftp://ann@host/repo").password.reveal() == ""


def test_a_password_is_found_in_netrc_for_its_host_and_user(tmp_path):
    (tmp_path / ".netrc").write_text("machine host login ann password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert server("ftp://ann@host/repo", HOME=str(tmp_path)).password.reveal() == "hunter2"
    assert server("ftp://bob@host/repo", HOME=str(tmp_path)).password.reveal() == ""
    assert server("ftp://ann@other/repo", HOME=str(tmp_path)).password.reveal() == ""


def test_a_netrc_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    (tmp_path / ".netrc").write_text("nonsense\n")
    with pytest.raises(UsageError, match=r"\.netrc"):
        server("ftp://ann@host/repo", HOME=str(tmp_path))


def test_no_description_shows_a_password():
    assert "hunter2" not in repr(server("ftp://ann:hunter2@host/repo"))
    assert (
        open_ftp(parse_location("ftp://ann:hunter2@host/repo"), BackendOptions()).location == "ftp://ann:***@host/repo"
    )


def test_certificates_are_checked_and_the_version_lets_sessions_be_used_again():
    context = server("ftps://host/repo").tls
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    assert server("ftp://host/repo").tls is None


def test_certificates_that_cannot_be_read_are_an_error(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UsageError, match=r"ca\.pem"):
        server_of(parse_location("ftps://host/repo"), BackendOptions(ca_file=tmp_path / "ca.pem"))


def test_an_unknown_option_is_an_error():
    with pytest.raises(UsageError, match=r"ftp\.active"):
        open_ftp(parse_location("ftp://host/repo"), BackendOptions({"ftp.active": "yes"}))


@pytest.mark.parametrize("scheme", ["ftp", "ftps"])
def test_the_number_of_connections_can_be_chosen(scheme):
    options = BackendOptions({f"{scheme}.connections": "9"})
    assert open_ftp(parse_location(f"{scheme}://host/repo"), options).connections == 9
