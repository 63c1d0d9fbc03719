"""Our prune beside stock restic's, on the same repository."""

from __future__ import annotations

import random
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.repository.prune.execute import PruneOptions, execute_prune, plan_prune
from icebrick.repository.repository import init_repository, open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import CHEAP
from icebrick.testing.restic import Restic

PASSWORD = "geheim"
WORDS = [b"volume", b"snapshot", b"block", b"prune", b"restic", b"cinder", b"\n"]


@dataclass(frozen=True, slots=True)
class History:
    """Two copies of one repository with snapshots forgotten, and the files that the last one holds."""

    ours: Restic
    stock: Restic
    files: Path


def content(chance: random.Random) -> bytes:
    """Noise mostly, sometimes words."""
    size = chance.randrange(50_000, 1_500_000)
    if chance.random() < 0.8:
        return chance.randbytes(size)
    return b" ".join(chance.choices(WORDS, k=size // 6))


def change(files: Path, chance: random.Random) -> None:
    """Some files go, some are written anew, some are added."""
    present = sorted(files.iterdir())
    for path in chance.sample(present, len(present) // 5):
        path.unlink()
    for path in chance.sample(sorted(files.iterdir()), len(present) // 10):
        path.write_bytes(content(chance))
    for _ in range(8):
        (files / f"{chance.randrange(10**9):09}").write_bytes(content(chance))


def make_history(restic: str, folder: Path, seed: int) -> History:
    chance = random.Random(seed)
    files, place = folder / "files", folder / "ours"
    files.mkdir()
    for number in range(40):
        (files / f"{number:09}").write_bytes(content(chance))
    with closing(LocalBackend(place)) as backend:
        init_repository(backend, Secret(PASSWORD), parameters=CHEAP)
    ours = Restic(restic, place, PASSWORD)
    for _ in range(6):
        ours.run("backup", "--quiet", str(files))
        change(files, chance)
    ours.run("backup", "--quiet", str(files))
    ids = [snapshot["id"] for snapshot in ours.json("snapshots")]
    ours.run("forget", *chance.sample(ids[:-1], chance.choice([2, 4, 6])))
    shutil.copytree(place, folder / "stock")
    return History(ours, Restic(restic, folder / "stock", PASSWORD), files)


def size(repository: Path) -> int:
    """Of all packs, in bytes."""
    return sum(path.stat().st_size for path in (repository / "data").rglob("*") if path.is_file())


def our_prune(place: Path, options: PruneOptions) -> None:
    with closing(LocalBackend(place)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        with repository.lock(exclusive=True):
            execute_prune(repository, plan_prune(repository, options))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "options", "words"),
    [
        (1, PruneOptions(), ()),
        (2, PruneOptions(max_unused=0), ("--max-unused", "0")),
        (3, PruneOptions(max_unused=0.2), ("--max-unused", "20%")),
        (4, PruneOptions(max_unused=None), ("--max-unused", "unlimited")),
        (5, PruneOptions(max_unused=0, max_repack=20 << 20), ("--max-unused", "0", "--max-repack-size", "20M")),
        (6, PruneOptions(max_unused=0, repack_trees_only=True), ("--max-unused", "0", "--repack-cacheable-only")),
        (7, PruneOptions(repack_small=True), ("--repack-small",)),
    ],
    ids=str,
)
def test_we_free_what_restic_frees(
    restic: str, tmp_path: Path, seed: int, options: PruneOptions, words: tuple[str, ...]
) -> None:
    history = make_history(restic, tmp_path, seed)
    before = size(history.stock.repository)
    our_prune(history.ours.repository, options)
    history.stock.run("prune", *words)
    freed_by_us = before - size(history.ours.repository)
    freed_by_restic = before - size(history.stock.repository)
    print(f"of {before} bytes, we freed {freed_by_us}, restic {freed_by_restic}")
    assert freed_by_us == pytest.approx(freed_by_restic, rel=0.02, abs=4096)
    history.ours.run("restore", "latest", "--target", str(tmp_path / "back"))
    back = tmp_path / "back" / history.files.relative_to("/")
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in history.files.iterdir()
    }
