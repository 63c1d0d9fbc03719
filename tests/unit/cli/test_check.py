"""icebrick check, and commands that read without a lock."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.base import FileType
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.repository.repository import open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import add_tree, copy_files, in_memory


@pytest.fixture
def snapshot_id(location: Path) -> str:
    with closing(LocalBackend(location)) as backend:
        return add_tree(open_repository(backend, Secret(PASSWORD)), {"hosts": b"127.0.0.1"})


def test_a_subset_of_the_data_is_read(icebrick: Icebrick, snapshot_id: str) -> None:
    [summary] = [line for line in icebrick("check", "--read-data-subset", "1%", "--json").json if "packs" in line]
    assert (summary["packs"], summary["packs_read"], summary["problems"]) == (2, 1, [])


def test_a_subset_that_cannot_be_meant_is_refused(icebrick: Icebrick, location: Path) -> None:
    ran = icebrick("check", "--read-data-subset", "5")
    assert ran.code == 2
    assert "'5' is no subset of the data" in ran.err
    assert icebrick("check", "--read-data", "--read-data-subset", "1/2").code == 2


@pytest.mark.damages_repository("check must find it")
def test_a_problem_is_told_once(icebrick: Icebrick, snapshot_id: str, location: Path) -> None:
    [pack, *_] = location.glob("data/*/*")
    pack.unlink()
    ran = icebrick("check")
    assert (ran.out + ran.err).count(f"{pack.name} is missing") == 1


@pytest.mark.damages_repository("check must find it")
def test_a_check_does_not_believe_the_cache(
    icebrick: Icebrick, snapshot_id: str, location: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = in_memory(LocalBackend(location))
    monkeypatch.setattr("icebrick.app.open_backend", lambda *_: medium)
    monkeypatch.setenv("RESTIC_REPOSITORY", "s3:host/bucket")
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "cache"))
    assert icebrick("ls", "latest").code == 0
    [index] = medium.list_files(FileType.INDEX)
    medium.save(index.handle, b"damaged")
    assert icebrick("ls", "latest").code == 0
    assert icebrick("check").code == 1


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, snapshot_id: str, location: Path) -> list[str]:
    """What a storage that cannot be written was asked to write."""
    asked: list[str] = []

    class ReadOnly(MemoryBackend):
        def save(self, handle, data):
            asked.append(f"save {handle}")

        def remove(self, handle):
            asked.append(f"remove {handle}")

    files = MemoryBackend()
    copy_files(LocalBackend(location), files)
    backend = ReadOnly()
    backend._files = files._files
    monkeypatch.setattr("icebrick.app.open_backend", lambda *_: backend)
    return asked


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "latest"),
        ("find", "hosts"),
        ("dump", "latest", "hosts"),
        ("check",),
        ("restore", "--snapshot", "{snapshot}", "--target", "{target}"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_without_a_lock_nothing_is_written(icebrick, refused, snapshot_id, tmp_path, arguments) -> None:
    words = [argument.format(snapshot=snapshot_id, target=tmp_path / "target") for argument in arguments]
    ran = icebrick(*words, "--no-lock")
    assert ran.code == 0, ran.err
    assert refused == []


def test_volumes_are_not_restored_without_a_lock(icebrick: Icebrick, location: Path) -> None:
    assert "--no-lock needs a --target" in icebrick("restore", "--single-volume-id", "x", "--no-lock").err
