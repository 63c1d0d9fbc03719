"""The INI file: what is read, and how mistakes in it are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from icebrick.config.file import find_config_file, load_config_file
from icebrick.errors import UsageError


def write(directory: Path, text: str) -> Path:
    path = directory / "icebrick.conf"
    path.write_text(text, "utf-8")
    return path


def test_sections_and_keys_are_read(tmp_path: Path) -> None:
    config = load_config_file(write(tmp_path, "[repository:main]\nlocation = /srv/b\n[agent]\nretry-lock = 5m\n"))
    assert config.text("repository:main", "location") == "/srv/b"
    assert config.names("repository") == ("main",)


def test_underscores_in_keys_count_as_hyphens(tmp_path: Path) -> None:
    config = load_config_file(write(tmp_path, "[agent]\nretry_lock = 5m\n"))
    assert config.text("agent", "retry-lock") == "5m"


def test_percent_signs_stand_for_themselves(tmp_path: Path) -> None:
    config = load_config_file(write(tmp_path, "[repository:main]\nlocation = /srv/100%/%(x)s\n"))
    assert config.text("repository:main", "location") == "/srv/100%/%(x)s"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[nonsense]\n", "unknown section [nonsense], expected one of [repository:NAME], [cloud:NAME]"),
        ("[repository]\nlocation = /a\n", "unknown section [repository]"),
        ("[repository:]\nlocation = /a\n", "unknown section [repository:]"),
        ("[agent:x]\n", "unknown section [agent:x]"),
        ("[DEFAULT]\nlocation = /a\n", "unknown section [DEFAULT]"),
        ("[agent]\nstate = /a\n", "[agent] state: unknown key, expected one of state-dir, reader-dir"),
        ("[agent]\nretry-lock = soon\n", "[agent] retry-lock: 'soon' is not a time"),
        ("[agent]\nretry-lock = -1\n", "[agent] retry-lock: '-1' is not a time"),
        ("[agent]\nretry-lock =\n", "[agent] retry-lock: '' is not a time"),
        ("[agent]\nretry-lock = 1\nretry_lock = 2\n", "[agent] retry_lock: stands twice"),
        ("[agent]\nretry-lock = 1\nretry-lock = 2\n", "already exists"),
        ("[agent]\n[agent]\n", "already exists"),
        ("[repository:a]\npassword = x\n", "[repository:a] password: secrets do not belong in this file"),
        ("[repository:a]\nlocation = gopher:x\n", "unknown kind of repository location: gopher"),
        ("[repository:a]\nconnections = 0\n", "[repository:a] connections: '0' is not a whole number of at least 1"),
        ("[repository:a]\nupload-limit = 5X\n", "[repository:a] upload-limit: '5X' is not bytes per second"),
        ("[repository:a]\nupload-limit = 500\n", "[repository:a] upload-limit: '500' needs a unit: B, K, M, G or T"),
        ("[repository:a]\noption = region=x\n", "[repository:a] option: 'region=x' is not KEY=VALUE"),
        ("[repository:a]\noption = s3.a=1, s3.a=2\n", "[repository:a] option: s3.a is said twice"),
        ("[cinder-osbrick]\nmode = magic\n", "[cinder-osbrick] mode: 'magic' is not one of auto, files, blocks"),
        ("location = /a\n", "contains no section headers"),
    ],
)
def test_a_mistake_is_told_with_file_section_key_and_what_was_expected(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_config_file(path)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_secret_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_config_file(write(tmp_path, "[repository:a]\npassword = geheim\n"))
    assert "geheim" not in str(caught.value)


def test_a_misspelt_key_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_config_file(write(tmp_path, "[repository:a]\nlocatoin = /a\n"))
    assert caught.value.hint == "Did you mean 'location'?"


def test_a_missing_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read configuration"):
        load_config_file(tmp_path / "absent.conf")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "icebrick.conf"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_config_file(path)


def test_the_file_given_counts_more_than_the_variable(tmp_path: Path) -> None:
    assert find_config_file(tmp_path / "a", {"ICEBRICK_CONFIG": "/b"}) == tmp_path / "a"


def test_the_variable_counts_more_than_the_users_file(tmp_path: Path) -> None:
    (tmp_path / ".config/icebrick").mkdir(parents=True)
    (tmp_path / ".config/icebrick/icebrick.conf").touch()
    assert find_config_file(None, {"ICEBRICK_CONFIG": "/b", "HOME": str(tmp_path)}) == Path("/b")


def test_the_users_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / ".config/icebrick/icebrick.conf"
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_config_file(None, {"HOME": str(tmp_path)}) == path
