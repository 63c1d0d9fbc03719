"""The settings of the repository that is copied from."""

from __future__ import annotations

from pathlib import Path

from icebrick.config import options
from icebrick.config.other import load_other_repository

TARGET = {"RESTIC_REPOSITORY": "/to", "RESTIC_PASSWORD": "of the target", "RESTIC_PASSWORD_FILE": "/to.password"}


def test_nothing_of_the_first_ones_location_and_password_is_taken(tmp_path: Path) -> None:
    given = {options.REPOSITORY_LOCATION: "/to", options.PASSWORD_FILE: "/p", options.UPLOAD_LIMIT: "1M"}
    other = load_other_repository("/from", None, given, TARGET, file=None)
    assert (str(other.location), other.password, other.password_file) == ("local:/from", None, None)
    assert other.upload_limit == 1 << 20


def test_it_has_variables_of_its_own() -> None:
    environment = {**TARGET, "RESTIC_FROM_PASSWORD": "of the source"}
    other = load_other_repository("/from", None, {}, environment, file=None)
    assert other.password is not None
    assert other.password.reveal() == "of the source"
    environment["RESTIC_FROM_PASSWORD_FILE"] = "/from.password"
    assert load_other_repository("/from", None, {}, environment, file=None).password_file == Path("/from.password")


def test_the_password_file_of_the_command_line_counts_most() -> None:
    environment = {**TARGET, "RESTIC_FROM_PASSWORD_FILE": "/from.password", "RESTIC_FROM_PASSWORD": "x"}
    other = load_other_repository("/from", "/line", {}, environment, file=None)
    assert other.password_file == Path("/line")
