"""`icebrick prune`."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.base import FileType
from icebrick.backend.local import LocalBackend
from icebrick.cli.prune import parse_max_unused
from icebrick.errors import UsageError
from icebrick.repository.repository import Repository, open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import add_foreign_lock, add_snapshot


@pytest.fixture
def forgotten(location: Path) -> Path:
    """A repository with one snapshot, and the data of one that was forgotten."""
    with closing(LocalBackend(location)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        old = add_snapshot(repository, {"old": bytes(range(256)) * 30})
        add_snapshot(repository, {"new": b"n" * 5000}, 1)
        repository.remove_snapshot(old)
    return location


def packs(location: Path) -> int:
    return sum(1 for path in (location / FileType.PACK.value).rglob("*") if path.is_file())


def test_prune_tells_what_it_did(icebrick: Icebrick, forgotten: Path) -> None:
    before = packs(forgotten)
    ran = icebrick("prune")
    assert ran.code == 0
    assert ran.out.startswith("removed 2 packs, wrote 0 packs; freed ")
    assert "used:          3 blobs" in ran.err
    assert packs(forgotten) == before - 2


def test_a_dry_run_tells_the_same_and_does_nothing(icebrick: Icebrick, forgotten: Path) -> None:
    before = packs(forgotten)
    [plan] = icebrick("prune", "--dry-run", "--json").json
    assert packs(forgotten) == before
    [done] = icebrick("prune", "--json", "-q").json
    assert done["message_type"] == "summary"
    assert {name: value for name, value in done.items() if name in plan} == plan | {"message_type": "summary"}
    assert done["done"]["packs_removed"] == 2
    assert plan["freed_bytes"] == plan["remove"]["bytes"] > 0


def test_what_killed_saves_left_is_removed(icebrick: Icebrick, forgotten: Path) -> None:
    left = forgotten / FileType.SNAPSHOT.value / f"{'0' * 64}-tmp-1234"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    assert icebrick("prune").out.endswith("removed 1 unfinished file\n")
    assert not left.exists()


def test_a_repository_in_use_is_not_pruned(icebrick: Icebrick, forgotten: Path) -> None:
    with closing(LocalBackend(forgotten)) as backend:
        repository: Repository = open_repository(backend, Secret(PASSWORD))
        add_foreign_lock(repository)
        ran = icebrick("prune")
        assert ran.code == 11
        assert icebrick("prune", "--dry-run").code == 0
        for info in list(backend.list_files(FileType.LOCK)):
            backend.remove(info.handle)


@pytest.mark.parametrize(
    ("text", "value"), [("5%", 0.05), ("12.5%", 0.125), ("unlimited", None), ("0", 0), ("3k", 3072), ("2T", 2 << 40)]
)
def test_how_much_may_stay_unused_is_a_share_or_a_size(text: str, value: float | None) -> None:
    assert parse_max_unused(text) == value


@pytest.mark.parametrize("text", ["", "100%", "-1", "5", "x", "1.5G"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        parse_max_unused(text)
