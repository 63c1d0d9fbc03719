"""Locations and options of SFTP; what it does on a server is tested with the other media."""

from __future__ import annotations

import pytest

from icebrick.backend.location import parse_location
from icebrick.backend.options import BackendOptions
from icebrick.backend.sftp.backend import SftpServer, open_sftp, server_of
from icebrick.errors import UsageError


def server(text: str, **environment: str) -> SftpServer:
    return server_of(parse_location(text), BackendOptions(environment=environment))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sftp:ann@host:/srv/repo", SftpServer("host", "/srv/repo", user="ann")),
        ("sftp:host:/srv/repo/", SftpServer("host", "/srv/repo")),
        ("sftp:host:repo", SftpServer("host", "repo")),
        ("sftp:host:../repo", SftpServer("host", "../repo")),
        ("sftp:host:/srv/a:b", SftpServer("host", "/srv/a:b")),
        ("sftp:ann@[2001:db8::1]:/srv", SftpServer("2001:db8::1", "/srv", user="ann")),
        ("sftp://host/repo", SftpServer("host", "repo")),
        ("sftp://host//srv//repo/", SftpServer("host", "/srv/repo")),
        ("sftp://ann@host:2222//srv/repo", SftpServer("host", "/srv/repo", user="ann", port=2222)),
        ("sftp://[2001:db8::1]:22//srv", SftpServer("2001:db8::1", "/srv", port=22)),
        ("sftp://host//srv/a%20b%3fc", SftpServer("host", "/srv/a b?c")),
    ],
)
def test_locations_mean_what_they_mean_to_restic(text, expected):
    assert server(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "sftp:",
        "sftp:host",
        "sftp:host:",
        "sftp::/srv",
        "sftp:/srv",
        "sftp://host",
        "sftp://host/",
        "sftp:///srv",
        "sftp://host:port//srv",
        "sftp:host:/srv\nx",
        "sftp:host:~/repo",
        "sftp://host/~ann/repo",
    ],
)
def test_a_location_that_cannot_be_meant_is_an_error_with_a_hint(text):
    with pytest.raises(UsageError) as caught:
        server(text)
    assert caught.value.hint


def test_a_host_is_never_taken_for_an_option_of_a_program():
    with pytest.raises(UsageError):
        server("sftp:-oProxyCommand=x:/srv")


def test_a_password_comes_from_the_location_or_the_environment():
    assert server("sftp://ann:hun%2Fter2@host//srv").password.reveal() == "hun/ter2"
    assert server("sftp://ann@host//srv", SFTP_PASSWORD="hunter2").password.reveal() == "hunter2"
    assert server("sftp://ann@host//srv").password is None


def test_no_error_or_description_shows_a_password():
    with pytest.raises(UsageError) as caught:
        server("sftp://ann:hunter2@host:port//srv")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert "hunter2" not in f"{server('sftp://ann:hunter2@host//srv')!r}"


def test_options_name_files_of_openssh(tmp_path):
    paths = {}
    for name in ("config", "identity", "known-hosts"):
        paths[f"sftp.{name}"] = str(tmp_path / name)
        (tmp_path / name).touch()
    found = server_of(parse_location("sftp:host:/srv"), BackendOptions(paths))
    assert (found.config, found.identity, found.known_hosts) == (
        tmp_path / "config",
        tmp_path / "identity",
        tmp_path / "known-hosts",
    )


@pytest.mark.parametrize("name", ["sftp.args", "sftp.command"])
def test_options_for_the_ssh_program_are_refused_with_what_to_do_instead(name):
    with pytest.raises(UsageError, match=name) as caught:
        server_of(parse_location("sftp:host:/srv"), BackendOptions({name: "ssh -p 2222"}))
    assert "ssh_config" in caught.value.hint


@pytest.mark.parametrize("name", ["sftp.config", "sftp.identity", "sftp.known-hosts"])
def test_a_file_that_is_not_there_is_an_error_that_names_option_and_file(name):
    with pytest.raises(UsageError, match=f"{name}: /nowhere/x is not a file"):
        server_of(parse_location("sftp:host:/srv"), BackendOptions({name: "/nowhere/x"}))


def test_opening_connects_to_nothing_and_shows_no_password():
    backend = open_sftp(parse_location("sftp://ann:hunter2@host.invalid//srv"), BackendOptions())
    assert backend.location == "sftp://ann:***@host.invalid//srv"
    backend.close()
    backend.close()


def test_the_number_of_connections_can_be_chosen():
    backend = open_sftp(parse_location("sftp:host:/srv"), BackendOptions({"sftp.connections": "9"}))
    assert backend.connections == 9
