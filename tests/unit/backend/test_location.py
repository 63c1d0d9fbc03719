"""Locations as operators write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.backend.location import Location, parse_location
from icebrick.backend.media import open_backend
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import UsageError


@pytest.mark.parametrize(
    ("text", "scheme", "address"),
    [
        ("/srv/backup", "local", "/srv/backup"),
        ("local:/srv/backup", "local", "/srv/backup"),
        ("LOCAL:/srv", "local", "/srv"),
        ("local:/srv/a:b", "local", "/srv/a:b"),
        ("./a:b", "local", "./a:b"),
        ("/srv/a:b", "local", "/srv/a:b"),
        ("backup", "local", "backup"),
        ("mem:", "mem", ""),
    ],
)
def test_a_location_is_a_scheme_and_an_address(text, scheme, address):
    assert parse_location(text) == Location(scheme, address)


def test_an_unknown_scheme_is_an_error_that_names_the_known_ones():
    with pytest.raises(UsageError, match="gopher") as caught:
        parse_location("gopher:host/x")
    assert "local, mem" in caught.value.hint


def test_the_error_for_an_unknown_scheme_holds_no_password():
    with pytest.raises(UsageError) as caught:
        parse_location("gopher://user:hunter2@host/x")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("text", ["", "local:", "mem:x"])
def test_a_location_that_cannot_be_meant_is_an_error(text):
    with pytest.raises(UsageError):
        open_backend(parse_location(text))


def test_a_path_opens_a_local_backend_that_later_changes_of_directory_do_not_move(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backend = open_backend(parse_location("repo"))
    assert isinstance(backend, LocalBackend)
    assert backend.location == f"local:{tmp_path / 'repo'}"


def test_opening_touches_nothing(tmp_path: Path):
    open_backend(parse_location(f"local:{tmp_path}/repo")).close()
    assert list(tmp_path.iterdir()) == []


def test_every_mem_location_is_a_repository_of_its_own():
    first, second = (open_backend(parse_location("mem:")) for _ in range(2))
    assert isinstance(first, MemoryBackend)
    assert first is not second


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ann:hunter2@host:8000/r", "https://ann:***@host:8000/r"),
        ("//ann:hunter2@host:22//srv", "//ann:***@host:22//srv"),
        ("ann:hunter2@host/srv", "ann:***@host/srv"),
        ("https://ann:hun/t@e:r2@host/r", "https://ann:***@host/r"),
        ("https://ann@example.org:hunter2@host/r", "https://ann@example.org:***@host/r"),
        ("https://:hunter2@host/r", "https://:***@host/r"),
        ("ann@host:/srv", "ann@host:/srv"),
        ("https://host:9000/bucket", "https://host:9000/bucket"),
        ("container:/prefix", "container:/prefix"),
        ("/srv/backup", "/srv/backup"),
    ],
)
def test_a_location_shows_no_password(address, shown):
    location = Location("x", address)
    assert str(location) == f"x:{shown}"
    assert address not in repr(location)
