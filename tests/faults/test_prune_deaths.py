"""A prune killed at every write: nothing that is needed is ever missing, and the next prune finishes the work."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from icebrick.backend.base import Backend, FileType
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.check.check import check_repository
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.index.load import load_index
from icebrick.repository.prune.execute import PruneOptions, execute_prune, plan_prune
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.repository.tree import decode_tree
from icebrick.secret import Secret
from icebrick.testing.faults import Death, DyingBackend, deaths
from icebrick.testing.repositories import CHEAP, Tree, add_tree, copy_files, in_memory
from icebrick.testing.restic import Restic

PASSWORD = Secret("geheim")

Contents = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Pruned:
    """A repository to be pruned, what its snapshots hold, and how many writes a prune of it makes."""

    backend: MemoryBackend
    kept: dict[str, Contents]
    writes: int


def opened(backend: Backend) -> Repository:
    return open_repository(backend, PASSWORD)


def noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(6000)


def files(seeds: range) -> Tree:
    return {"sub": {f"{seed:04}": noise(seed) for seed in seeds}, "empty": {}, "link": "sub"}


def contents(repository: Repository) -> dict[str, Contents]:
    """What every snapshot holds, each blob proven."""
    store = repository.load_index()
    return {snapshot.id or "": dict(_files(store, snapshot.tree)) for snapshot in repository.snapshots()}


def _files(store: BlobStore, tree: bytes) -> Iterator[tuple[str, bytes]]:
    for node in decode_tree(store.load(BlobType.TREE, tree)):
        if node.subtree is not None:
            yield from ((f"{node.name}/{name}", content) for name, content in _files(store, node.subtree))
        ids = [node.content[start : start + ID_SIZE] for start in range(0, len(node.content), ID_SIZE)]
        yield node.name, b"".join(store.load(BlobType.DATA, blob_id) for blob_id in ids)


def prune(backend: Backend) -> None:
    repository = opened(backend)
    with repository.lock(exclusive=True):
        execute_prune(repository, plan_prune(repository, PruneOptions(max_unused=0)))


def blobs(backend: Backend) -> int:
    """How many entries the index has."""
    return len(load_index(backend, opened(backend).key).index)


@pytest.fixture
def pruned(monkeypatch: pytest.MonkeyPatch) -> Pruned:
    """Packs to repack, to remove and to keep, a pack in no index, and several index files."""
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", 20_000)
    monkeypatch.setattr("icebrick.repository.packwriter.INDEX_BLOBS", 9)
    monkeypatch.setattr("icebrick.repository.index.rewrite.FULL", 16)
    monkeypatch.setattr("icebrick.repository.prune.execute.MAX_REPACKERS", 1)  # every run makes the same writes
    monkeypatch.setattr("icebrick.repository.lock.SETTLE_SECONDS", 0)
    backend = MemoryBackend()
    repository = init_repository(backend, PASSWORD, parameters=CHEAP)
    gone = [add_tree(repository, files(range(12)), 1), add_tree(repository, files(range(20, 26)), 2)]
    add_tree(repository, files(range(0, 12, 2)), 3)
    add_tree(repository, files(range(40, 48)), 4)
    packs = {info.handle for info in backend.list_files(FileType.PACK)}
    indexes = {info.handle for info in backend.list_files(FileType.INDEX)}
    gone.append(add_tree(repository, files(range(60, 64)), 5))
    lost = next(info.handle for info in backend.list_files(FileType.INDEX) if info.handle not in indexes)
    backend.remove(lost)
    assert {info.handle for info in backend.list_files(FileType.PACK)} > packs
    for snapshot_id in gone:
        repository.remove_snapshot(snapshot_id)
    trial = DyingBackend(in_memory(backend))
    prune(trial)
    return Pruned(backend, contents(repository), trial.writes)


def killed(pruned: Pruned) -> Iterator[MemoryBackend]:
    """What each death leaves."""
    for at, effective in deaths(pruned.writes):
        backend = in_memory(pruned.backend)
        with pytest.raises(Death):
            prune(DyingBackend(backend, at=at, effective=effective))
        for info in list(backend.list_files(FileType.LOCK)):  # the dead process's, which is this one
            backend.remove(info.handle)
        yield backend


def test_a_prune_makes_enough_writes_to_die_at(pruned: Pruned) -> None:
    assert pruned.writes >= 20  # lock; packs, index files, old index files, old packs; lock removed


def test_after_any_death_every_snapshot_is_whole_and_the_next_prune_finishes(pruned: Pruned) -> None:
    undisturbed = in_memory(pruned.backend)
    prune(undisturbed)
    for backend in killed(pruned):
        assert check_repository(opened(backend), read_data=True).problems == ()
        assert contents(opened(backend)) == pruned.kept
        prune(backend)
        report = check_repository(opened(backend), read_data=True)
        assert (report.problems, report.hints) == ((), ())
        assert contents(opened(backend)) == pruned.kept
        assert blobs(backend) == blobs(undisturbed)


@pytest.mark.slow
def test_restic_finds_no_error_after_any_death(pruned: Pruned, restic: str, tmp_path: Path) -> None:
    for number, backend in enumerate(killed(pruned)):
        local = LocalBackend(tmp_path / str(number))
        local.create()
        copy_files(backend, local)
        local.close()
        Restic(restic, tmp_path / str(number), PASSWORD.reveal()).run("check", "--read-data", "--no-lock")
