"""The passwords that open a repository, and its locks, as a user manages them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.base import FileType, Handle
from icebrick.backend.local import LocalBackend
from icebrick.repository.repository import open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import add_foreign_lock
from icebrick.testing.restic import Restic


@pytest.fixture
def new_password(location: Path, tmp_path: Path) -> Path:
    """A file with one that opens nothing yet; the repository is there."""
    path = tmp_path / "new.password"
    path.write_text("neues\n")
    path.chmod(0o600)
    return path


def keys(icebrick: Icebrick) -> list[dict[str, Any]]:
    (listed,) = icebrick("key", "list", "--json").json
    assert isinstance(listed, list)
    return listed


def opens(icebrick: Icebrick, path: Path) -> bool:
    return icebrick("--password-file", path, "snapshots").code == 0


def test_the_list_marks_the_key_in_use(icebrick: Icebrick, location: Path) -> None:
    ran = icebrick("key", "list")
    assert ran.out.splitlines()[1].startswith("*  ")
    assert ran.out.endswith("1 key\n")
    assert [each["current"] for each in keys(icebrick)] == [True]


def test_an_added_password_opens_the_repository_too(icebrick: Icebrick, location: Path, new_password: Path) -> None:
    assert not opens(icebrick, new_password)
    assert icebrick("key", "add", "--new-password-file", new_password).code == 0
    assert opens(icebrick, new_password)
    assert icebrick("snapshots").code == 0
    assert len(keys(icebrick)) == 2


def test_restic_opens_the_repository_with_an_added_password(
    icebrick: Icebrick, location: Path, new_password: Path, restic: str
) -> None:
    icebrick("key", "add", "--new-password-file", new_password)
    assert Restic(restic, location, "neues").json("snapshots") == []


def test_a_removed_key_opens_nothing_more(icebrick: Icebrick, location: Path, new_password: Path) -> None:
    (record,) = icebrick("key", "add", "--new-password-file", new_password, "--json").json
    assert icebrick("key", "remove", record["added"][:12]).code == 0
    assert not opens(icebrick, new_password)


def test_the_key_in_use_is_not_removed(icebrick: Icebrick, location: Path) -> None:
    (only,) = keys(icebrick)
    assert icebrick("key", "remove", only["id"]).code == 2
    assert len(keys(icebrick)) == 1


@pytest.mark.parametrize("key_id", ["", "zz"])
def test_an_id_of_no_key_removes_none(icebrick: Icebrick, location: Path, new_password: Path, key_id: str) -> None:
    icebrick("key", "add", "--new-password-file", new_password)
    assert icebrick("key", "remove", key_id).code == 1
    assert len(keys(icebrick)) == 2


def test_a_changed_password_opens_the_repository_and_the_old_one_does_not(
    icebrick: Icebrick, location: Path, new_password: Path
) -> None:
    assert icebrick("key", "passwd", "--new-password-file", new_password).code == 0
    assert opens(icebrick, new_password)
    assert icebrick("snapshots").code == 12


def test_without_a_terminal_the_new_password_must_be_in_a_file(icebrick: Icebrick, location: Path) -> None:
    ran = icebrick("key", "add")
    assert (ran.code, "--new-password-file" in ran.err) == (2, True)
    assert len(keys(icebrick)) == 1


Locks = Callable[[], int]


@pytest.fixture
def locks(location: Path) -> Locks:
    """How many the repository has."""

    def count() -> int:
        with closing(LocalBackend(location)) as backend:
            return len(list(backend.list_files(FileType.LOCK)))

    return count


@pytest.fixture
def locked(location: Path) -> None:
    """By somebody elsewhere who may live."""
    with closing(LocalBackend(location)) as backend:
        add_foreign_lock(open_repository(backend, Secret(PASSWORD)))


def test_a_lock_that_may_be_in_use_stays(icebrick: Icebrick, locked: None, locks: Locks) -> None:
    assert icebrick("unlock").out == "0 locks removed\n"
    assert locks() == 1


def test_all_locks_go_when_that_is_said(icebrick: Icebrick, location: Path, locked: None, locks: Locks) -> None:
    with closing(LocalBackend(location)) as backend:
        backend.save(Handle(FileType.LOCK, "0" * 64), b"nobody can read this")
    assert icebrick("unlock", "--remove-all", "--json").json == [{"message_type": "summary", "removed": 2}]
    assert locks() == 0
