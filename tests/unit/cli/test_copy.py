"""icebrick copy: between two repositories, named in every way there is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.base import FileType
from icebrick.backend.local import LocalBackend
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import CHEAP, add_tree


@pytest.fixture
def source(location: Path, tmp_path: Path) -> Path:
    """With two snapshots and another password; what is copied to is at `location`."""
    path = tmp_path / "source"
    with closing(LocalBackend(path)) as backend:
        repository = init_repository(backend, Secret("geheim"), parameters=CHEAP)
        add_tree(repository, {"a": b"one"}, 1, paths=("/cinder/v1",))
        add_tree(repository, {"a": b"two"}, 2, paths=("/cinder/v2",))
    (tmp_path / "password").write_text("geheim")
    return path


@pytest.fixture
def naming(source: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    return "--from-repo", source, "--from-password-file", tmp_path / "password"


def opened(path: Path, password: str = PASSWORD) -> Repository:
    return open_repository(LocalBackend(path), Secret(password))


def test_all_snapshots_are_copied_and_then_known(icebrick: Icebrick, location: Path, naming) -> None:
    ran = icebrick("copy", *naming)
    assert ran.code == 0, ran.err
    assert "2 snapshots copied, 0 there already" in ran.out
    assert len(list(opened(location).snapshots())) == 2
    assert "0 snapshots copied, 2 there already" in icebrick("copy", *naming).out


def test_snapshots_are_chosen_by_id_or_by_volume(icebrick: Icebrick, source: Path, naming) -> None:
    first, second = opened(source, "geheim").snapshots()
    [summary] = [line for line in icebrick("copy", *naming, first.id or "", "--json").json if "copied" in line]
    assert [each["source_id"] for each in summary["copied"]] == [first.id]
    [summary] = [
        line for line in icebrick("copy", *naming, "--single-volume-id", "v2", "--json").json if "copied" in line
    ]
    assert [each["source_id"] for each in summary["copied"]] == [second.id]


def test_a_dry_run_copies_nothing(icebrick: Icebrick, location: Path, naming) -> None:
    ran = icebrick("copy", *naming, "--dry-run")
    assert ran.out.count("would copy snapshot") == 2
    assert list(opened(location).snapshots()) == []


def test_the_source_may_be_a_section_of_the_configuration(
    icebrick: Icebrick, source: Path, location: Path, tmp_path: Path
) -> None:
    file = tmp_path / "icebrick.conf"
    file.write_text(f"[repository:main]\nlocation = {source}\npassword-file = {tmp_path}/password\n")
    assert icebrick("--config", file, "copy", "--from-repo", "main").code == 0
    assert len(list(opened(location).snapshots())) == 2


def test_the_source_may_be_in_the_environment(
    icebrick: Icebrick, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_FROM_REPOSITORY", str(source))
    monkeypatch.setenv("RESTIC_FROM_PASSWORD", "geheim")
    assert icebrick("copy").code == 0


def test_the_password_of_the_first_is_not_tried_at_the_second(icebrick: Icebrick, source: Path) -> None:
    ran = icebrick("copy", "--from-repo", source)
    assert ran.code == 2
    assert "no password for the repository to copy from" in ran.err


def test_without_a_source_there_is_nothing_to_copy(icebrick: Icebrick, location: Path) -> None:
    ran = icebrick("copy")
    assert ran.code == 2
    assert "no repository to copy from is named" in ran.err


def test_a_repository_is_not_copied_into_itself(icebrick: Icebrick, source: Path, naming) -> None:
    ran = icebrick("-r", source, "-p", naming[-1], "copy", *naming)
    assert ran.code == 2
    assert "are the same repository" in ran.err


@pytest.mark.damages_repository("what is missing is what is tested")
def test_what_cannot_be_copied_is_told_and_the_rest_is_copied(icebrick: Icebrick, source: Path, naming) -> None:
    lonely = add_tree(opened(source, "geheim"), {"c": b"three"}, 3)
    files = opened(source, "geheim").backend
    newest = max(
        files.list_files(FileType.PACK),
        key=lambda info: (source / f"data/{info.handle.name[:2]}/{info.handle.name}").stat().st_mtime_ns,
    )
    files.remove(newest.handle)
    ran = icebrick("copy", *naming)
    assert ran.code == 3
    assert f"snapshot {lonely} is not copied" in ran.err
    assert "2 snapshots copied" in ran.out
