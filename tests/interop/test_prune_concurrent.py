"""Backups, ours and restic's, that begin before, during and after prunes of either, each in a process of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from icebrick.backend.base import FileType
from icebrick.backend.local import LocalBackend
from icebrick.repository.prune.execute import PruneOptions, plan_prune
from icebrick.repository.repository import Repository, init_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import CHEAP
from icebrick.testing.restic import Restic

MIB = 1 << 20
ROUNDS = 3
PATIENCE = 60.0  # seconds
LOCKED = 11
COMMAND = """
from icebrick.repository import lock, packer
lock._FIRST_DELAY = lock._LONGEST_DELAY = 0.2
packer.PACK_SIZE = 1 << 20
from icebrick.cli.main import main
main()
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def stock(restic: str, tmp_path: Path) -> Restic:
    return Restic(restic, tmp_path / "repository", "geheim")


@pytest.fixture
def repository(stock: Restic) -> Iterator[Repository]:
    with closing(LocalBackend(stock.repository)) as backend:
        yield init_repository(backend, Secret(stock.password), parameters=CHEAP)


def start(stock: Restic, *arguments: str | Path) -> subprocess.Popen[str]:
    """One of our commands, which waits for locks."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments), "--json", "--quiet", "--retry-lock", "2m"],
        env=stock.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out


def stubborn(stock: Restic, *arguments: str) -> str:
    """A command of restic 0.14, which does not wait for locks."""
    end = time.monotonic() + PATIENCE
    while (process := stock.attempt(*arguments)).returncode:
        assert "already locked" in process.stderr, process.stderr
        assert time.monotonic() < end
        time.sleep(0.1)
    return process.stdout


def changed(content: bytes, chance: random.Random) -> bytes:
    """Two of its parts written anew, the others as they were."""
    parts = [content[start : start + MIB] for start in range(0, len(content), MIB)]
    for number in chance.sample(range(len(parts)), 2):
        parts[number] = chance.randbytes(MIB)
    return b"".join(parts)


def test_every_backup_that_runs_through_prunes_is_whole(repository: Repository, stock: Restic, tmp_path: Path) -> None:
    chance = random.Random(4)
    disks = {name: chance.randbytes(6 * MIB) for name in ("one", "two")}
    documents = tmp_path / "documents"
    documents.mkdir()
    images: dict[str, bytes] = {}
    for number in range(ROUNDS):
        backups: dict[str, subprocess.Popen[str]] = {}
        prunes = [start(stock, "prune", "--max-unused", "0")]
        for name, content in disks.items():
            disks[name] = changed(content, chance)
            (tmp_path / name).write_bytes(disks[name])
            backups[name] = start(stock, "backup", "--image", tmp_path / name, "--name", name)
        prunes.append(start(stock, "prune", "--max-unused", "0"))
        (documents / str(number)).write_bytes(os.urandom(MIB))
        stubborn(stock, "backup", "--quiet", str(documents))
        stubborn(stock, "prune", "--max-unused", "0")
        for name, process in backups.items():
            images[json.loads(finished(process).splitlines()[-1])["backups"][0]["snapshot_id"]] = disks[name]
        for process in prunes:
            finished(process)
        forgotten = chance.choice(sorted(images))
        repository.remove_snapshot(forgotten)
        del images[forgotten]

    assert list(repository.backend.list_files(FileType.LOCK)) == []
    stock.run("check", "--read-data")
    for snapshot_id, content in images.items():
        assert (
            subprocess.run(
                [stock.program, "--no-cache", "dump", snapshot_id, "/volume.raw"],
                env=stock.environment,
                capture_output=True,
                check=True,
            ).stdout
            == content
        )
    stock.run("restore", "latest", "--path", str(documents), "--target", str(tmp_path / "out"))
    for path in documents.iterdir():
        assert (tmp_path / "out" / path.relative_to("/")).read_bytes() == path.read_bytes()
    assert plan_prune(repository, PruneOptions()).figures.packs_unreferenced == 0


def test_a_prune_that_may_not_wait_is_refused_beside_a_backup_and_disturbs_it_not(
    repository: Repository, stock: Restic
) -> None:
    with repository.lock():
        refused = subprocess.run(
            [sys.executable, "-c", COMMAND, "prune"], env=stock.environment, capture_output=True, check=False
        )
        assert refused.returncode == LOCKED
        waiting = start(stock, "prune")
    finished(waiting)
