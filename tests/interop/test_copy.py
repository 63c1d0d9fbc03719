"""Copies: stock restic reads ours and knows them for copies, and we know its."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.progress import NO_PROGRESS
from icebrick.repository.repository import Repository, open_repository
from icebrick.testing.bytesdevice import BytesSource
from icebrick.testing.images import PASSWORD, load_image, save_backup, small_repository
from icebrick.testing.restic import Restic
from icebrick.workflow.copy import plan_copy, run_copy

pytestmark = pytest.mark.slow
MIB = 1 << 20


def opened(path: Path) -> Repository:
    return open_repository(LocalBackend(path), PASSWORD)


def copy(source: Path, target: Path) -> int:
    """With Icebrick; how many snapshots were copied."""
    there, here = opened(source), opened(target)
    plan = plan_copy(there.snapshots(), here.snapshots())
    return len(run_copy(plan.wanted, there.load_index(), here, here.load_index(), NO_PROGRESS).copied)


@pytest.fixture
def stock(restic: str, tmp_path: Path):
    def at(name: str) -> Restic:
        return Restic(restic, tmp_path / name, PASSWORD.reveal())

    return at


def restic_copy(source: Restic, target: Restic) -> int:
    """With restic; how many snapshots the target has afterwards."""
    environment = {"RESTIC_FROM_PASSWORD": PASSWORD.reveal(), "RESTIC_FROM_REPOSITORY": str(source.repository)}
    environment["RESTIC_FROM_PASSWORD_COMMAND"] = f"echo {PASSWORD.reveal()}"
    target.run("copy", "--from-repo", str(source.repository), environment=environment)
    return len(target.json("snapshots"))


@pytest.fixture
def images(tmp_path: Path) -> tuple[str, bytes]:
    """Of a volume, twice, in the repository `ours`; beside it the empty one `other`. The second: id and bytes."""
    with closing(LocalBackend(tmp_path / "ours")) as backend, closing(LocalBackend(tmp_path / "other")) as other:
        small_repository(other)
        repository = small_repository(backend)
        first = os.urandom(2 * MIB) + bytes(2 * MIB)
        saved = save_backup(repository, BytesSource(first))
        second = first[:MIB] + os.urandom(MIB) + first[2 * MIB :]
        saved = save_backup(repository, BytesSource(second), parent=saved.snapshot_id)
    return saved.snapshot_id, second


def test_restic_restores_what_we_copied(stock, images: tuple[str, bytes], tmp_path: Path) -> None:
    assert copy(tmp_path / "ours", tmp_path / "other") == 2
    originals = {each["original"]: each["id"] for each in stock("other").json("snapshots")}
    assert originals.keys() == {each["id"] for each in stock("ours").json("snapshots")}
    second, content = images
    stock("other").run("restore", originals[second], "--target", str(tmp_path / "restored"))
    assert (tmp_path / "restored" / "volume.raw").read_bytes() == content


def test_fingerprints_of_volumes_come_along(images: tuple[str, bytes], tmp_path: Path) -> None:
    copy(tmp_path / "ours", tmp_path / "other")
    repository = opened(tmp_path / "other")
    for snapshot in repository.snapshots():
        image, _ = load_image(repository, snapshot.id or "")
        assert image.fingerprints is not None


def test_restic_knows_our_copies(stock, images: tuple[str, bytes], tmp_path: Path) -> None:
    copy(tmp_path / "ours", tmp_path / "other")
    assert restic_copy(stock("ours"), stock("other")) == 2
    assert restic_copy(stock("other"), stock("ours")) == 2


def test_we_know_the_copies_of_restic(stock, images: tuple[str, bytes], tmp_path: Path) -> None:
    assert restic_copy(stock("ours"), stock("other")) == 2
    assert copy(tmp_path / "ours", tmp_path / "other") == 0
    assert copy(tmp_path / "other", tmp_path / "ours") == 0


def test_files_that_restic_stored_are_the_same_in_a_copy(stock, images: tuple[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for number in range(30):
        (folder / f"d{number % 5}").mkdir(parents=True, exist_ok=True)
        (folder / f"d{number % 5}" / f"f{number}").write_bytes(os.urandom(number * 3000))
    stock("restics").run("init")
    stock("restics").run("backup", "--tag", "a,b", str(folder))
    assert copy(tmp_path / "restics", tmp_path / "other") == 1
    stock("other").run("restore", "latest", "--target", str(tmp_path / "restored"))
    subprocess.run(["diff", "-r", folder, f"{tmp_path / 'restored'}{folder}"], check=True)
