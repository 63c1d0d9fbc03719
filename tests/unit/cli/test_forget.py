"""What `icebrick forget` does, says and refuses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.local import LocalBackend
from icebrick.repository.repository import open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import add_foreign_lock, add_tree
from icebrick.workflow.naming import volume_path

DAY = 86_400
FAR = 4_000_000_000  # seconds: in the year 2096
Ids = Callable[[], list[str]]


@pytest.fixture
def ids(location: Path) -> Ids:
    """Of the snapshots there are, oldest first."""

    def look() -> list[str]:
        with closing(LocalBackend(location)) as backend:
            return [str(snapshot.id) for snapshot in open_repository(backend, Secret(PASSWORD)).snapshots()]

    return look


@pytest.fixture
def stored(location: Path) -> list[str]:
    """Three days of volume v1, then two of v2; ids."""
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        return [
            add_tree(repository, {"volume.json": b"{}"}, 1_700_000_000 + day * DAY, paths=(volume_path(volume),))
            for day, volume in enumerate(("v1", "v1", "v1", "v2", "v2"))
        ]


def test_what_no_rule_keeps_is_forgotten(icebrick: Icebrick, stored: list[str], ids: Ids) -> None:
    ran = icebrick("forget", "--keep-last", "2")
    assert (ran.code, ids()) == (0, stored[1:])
    assert ran.out.endswith("1 snapshot forgotten\n")


def test_a_dry_run_says_the_reasons_and_forgets_nothing(icebrick: Icebrick, stored: list[str], ids: Ids) -> None:
    ran = icebrick("forget", "-n", "-d", "1", "--single-volume-id", "v1")
    assert ids() == stored
    assert "host host, path /cinder/v1: 1 of 3 snapshots stay" in ran.out
    rows = {line.split()[0]: line for line in ran.out.splitlines() if line[:8] in {each[:8] for each in stored}}
    assert rows[stored[2][:8]].split()[3:] == ["keep", "daily", "snapshot"]
    assert rows[stored[0][:8]].split()[3:] == ["forget", "no", "rule", "keeps", "it"]
    assert ran.out.endswith("2 snapshots would be forgotten\n")


def test_json_has_the_names_of_restic(icebrick: Icebrick, stored: list[str]) -> None:
    ((of_v1, of_v2),) = icebrick("forget", "-n", "--keep-last", "1", "--json").json
    assert (of_v1["host"], of_v1["paths"], of_v1["tags"]) == ("host", ["/cinder/v1"], None)
    assert [snapshot["id"] for snapshot in of_v1["keep"]] == [stored[2]]
    assert [snapshot["id"] for snapshot in of_v1["remove"]] == [stored[1], stored[0]]
    assert of_v2["reasons"][0]["matches"] == ["last snapshot"]
    assert of_v2["reasons"][0]["snapshot"]["id"] == stored[4]


def test_a_dry_run_needs_no_lock_of_its_own(icebrick: Icebrick, location: Path, stored: list[str]) -> None:
    with closing(LocalBackend(location)) as backend:
        add_foreign_lock(open_repository(backend, Secret(PASSWORD)))
    assert icebrick("forget", "-n", "--keep-last", "1").code == 0
    assert icebrick("forget", "--keep-last", "1").code == 11


def test_snapshots_can_be_named(icebrick: Icebrick, stored: list[str], ids: Ids) -> None:
    assert icebrick("forget", stored[0][:10], stored[4]).code == 0
    assert ids() == stored[1:4]


def test_ids_and_rules_exclude_each_other(icebrick: Icebrick, stored: list[str], ids: Ids) -> None:
    for rule in (["--keep-last", "1"], ["--keep-tag", "a"], ["--single-volume-id", "v1"], ["--host", "host"]):
        assert icebrick("forget", stored[0], *rule).code == 2
    assert ids() == stored


def test_without_a_rule_nothing_is_forgotten(icebrick: Icebrick, stored: list[str], ids: Ids) -> None:
    assert icebrick("forget").code == 2
    assert icebrick("forget", "--keep-last", "0").code == 2
    assert ids() == stored


def test_a_volume_loses_all_its_backups_only_when_that_is_said(icebrick: Icebrick, stored: list[str], ids: Ids) -> None:
    words = ("forget", "--keep-tag", "none-has-it", "--single-volume-id", "v2")
    refused = icebrick(*words)
    assert (refused.code, ids()) == (2, stored)
    assert "--unsafe-allow-remove-all" in refused.err
    assert icebrick(*words, "--unsafe-allow-remove-all").code == 0
    assert ids() == stored[:3]


def test_a_backup_from_the_future_stays_and_is_warned_of(icebrick: Icebrick, location: Path, ids: Ids) -> None:
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        stored = [add_tree(repository, {"file": b""}, second) for second in (1, 2, FAR)]
    ran = icebrick("forget", "--keep-last", "1")
    assert ids() == stored[1:]
    assert "lies in the future" in ran.err


def test_lists_of_tags_are_kept_when_one_of_them_is_had_whole(icebrick: Icebrick, location: Path, ids: Ids) -> None:
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        tags = [("a",), ("a", "b"), ("c",), ("d",)]
        stored = [add_tree(repository, {"file": b""}, second, tags=each) for second, each in enumerate(tags)]
    assert icebrick("forget", "--keep-tag", "a,b", "--keep-tag", "c").code == 0
    assert ids() == stored[1:3]


def packs(location: Path) -> int:
    return sum(path.is_file() for path in (location / "data").rglob("*"))


def test_what_was_forgotten_can_be_pruned_in_one_go(icebrick: Icebrick, location: Path) -> None:
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        for second in (1, 2):
            add_tree(repository, {"file": str(second).encode() * 100}, second)
    before = packs(location)
    _, planned = icebrick("forget", "--keep-last", "1", "--prune", "--dry-run", "--json").json
    assert planned["message_type"] == "plan"
    assert planned["packs_to_remove"] > 0
    assert packs(location) == before
    forgotten, pruned = icebrick("forget", "--keep-last", "1", "--prune", "--json").json
    assert len(forgotten[0]["remove"]) == 1
    assert pruned["message_type"] == "summary"
    assert packs(location) < before


@pytest.mark.parametrize("words", [["--keep-last=-2"], ["--keep-within", "5w"], ["--group-by", "volume"]])
def test_what_cannot_be_meant_is_refused(icebrick: Icebrick, stored: list[str], words: list[str]) -> None:
    assert icebrick("forget", "--keep-daily", "1", *words).code == 2


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, location: Path) -> None:
    """A configuration that says what to keep in this repository."""
    monkeypatch.delenv("RESTIC_REPOSITORY")
    file = tmp_path / "icebrick.conf"
    file.write_text(f"[repository:main]\nlocation = {location}\nkeep-daily = 2\nkeep-tag = a,b; c\nkeep-within = 1h\n")
    monkeypatch.setenv("ICEBRICK_CONFIG", str(file))


@pytest.mark.usefixtures("configured")
def test_the_configuration_can_say_what_to_keep(icebrick: Icebrick, stored: list[str], ids: Ids) -> None:
    assert icebrick("forget").code == 0
    assert ids() == stored[1:]


@pytest.mark.usefixtures("configured")
def test_rules_on_the_command_line_stand_alone(icebrick: Icebrick, stored: list[str], ids: Ids) -> None:
    assert icebrick("forget", "--keep-last", "1").code == 0
    assert ids() == [stored[2], stored[4]]


@pytest.mark.usefixtures("configured")
def test_the_settings_show_rules_as_they_are_written(icebrick: Icebrick) -> None:
    (shown,) = icebrick("config", "show", "--json").json
    values = {each["key"]: each["value"] for each in shown["settings"]}
    assert (values["keep-daily"], values["keep-tag"], values["keep-within"]) == ("2", "a,b; c", "1h")
