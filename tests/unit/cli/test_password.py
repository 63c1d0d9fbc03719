"""Where the password comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Icebrick

from icebrick.cli.password import read_password
from icebrick.config.settings import RepositorySettings
from icebrick.errors import UsageError
from icebrick.secret import Secret


def settings(*, file: Path | None = None, password: str | None = None) -> RepositorySettings:
    return RepositorySettings(None, file, None if password is None else Secret(password), None, None, None)


def test_white_space_round_the_password_in_a_file_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("  pass word \n\n")
    assert read_password(settings(file=path)).reveal() == "pass word"


@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "is empty"), (b"\n", "is empty"), (b"geheim\xff", "is not UTF-8")]
)
def test_a_useless_password_file_is_told_without_its_content(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=problem) as caught:
        read_password(settings(file=path))
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_password_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read password file"):
        read_password(settings(file=tmp_path / "absent"))


def test_without_a_terminal_there_must_be_a_password(icebrick: Icebrick, tmp_path: Path) -> None:
    ran = icebrick("-r", tmp_path, "init")
    assert ran.code == 2
    assert "RESTIC_PASSWORD_FILE" in ran.err


def test_a_password_file_named_on_the_command_line_counts(
    icebrick: Icebrick, location: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "password"
    path.write_text("wrong")
    assert icebrick("snapshots", "--password-file", path).code == 12


def test_init_makes_a_repository_that_opens_with_the_password(
    icebrick: Icebrick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "geheim")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "new"))
    (created,) = icebrick("init", "--json").json
    assert created["message_type"] == "initialized"
    assert icebrick("snapshots").code == 0
    assert icebrick("init").code == 1
