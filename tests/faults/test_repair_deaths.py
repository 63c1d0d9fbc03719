"""A repair killed at every write: what was whole stays, and the next repair finishes the work."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.repository.check.check import check_repository
from icebrick.repository.ids import BlobType
from icebrick.repository.repair.index import execute_repair_index, plan_repair_index
from icebrick.repository.repair.packs import execute_repair_packs, plan_repair_packs
from icebrick.repository.repair.snapshots import execute_repair_snapshots, plan_repair_snapshots
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.repository.tree import decode_tree
from icebrick.repository.unpacked import load_unpacked
from icebrick.secret import Secret
from icebrick.testing.faults import Death, DyingBackend, deaths
from icebrick.testing.repositories import CHEAP, add_tree, in_memory

PASSWORD = Secret("geheim")

Repair = Callable[[Repository], object]

pytestmark = pytest.mark.damages_repository("that is what repairs are for")


def repair_index(repository: Repository) -> None:
    execute_repair_index(repository, plan_repair_index(repository))


def repair_packs(repository: Repository) -> None:
    execute_repair_packs(repository, plan_repair_packs(repository))


def repair_snapshots(repository: Repository) -> None:
    execute_repair_snapshots(repository, plan_repair_snapshots(repository), forget=True)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    """Three snapshots in several packs and index files."""
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", 20_000)
    monkeypatch.setattr("icebrick.repository.index.rewrite.FULL", 4)
    monkeypatch.setattr("icebrick.repository.lock.SETTLE_SECONDS", 0)
    backend = MemoryBackend()
    repository = init_repository(backend, PASSWORD, parameters=CHEAP)
    chance = random.Random(3)
    for number in range(3):
        add_tree(repository, {"sub": {f"{number}{name}": chance.randbytes(8000) for name in "abcde"}}, number)
    return backend


def work(backend: Backend, repair: Repair) -> None:
    repository = open_repository(backend, PASSWORD)
    with repository.lock(exclusive=True):
        repair(repository)


def killed(backend: MemoryBackend, repair: Repair) -> Iterator[MemoryBackend]:
    """What each death leaves."""
    trial = DyingBackend(in_memory(backend))
    work(trial, repair)
    assert trial.writes >= 4
    for at, effective in deaths(trial.writes):
        copy = in_memory(backend)
        with pytest.raises(Death):
            work(DyingBackend(copy, at=at, effective=effective), repair)
        for info in list(copy.list_files(FileType.LOCK)):  # the dead process's, which is this one
            copy.remove(info.handle)
        yield copy


def problems(backend: Backend) -> tuple[str, ...]:
    return check_repository(open_repository(backend, PASSWORD), read_data=True).problems


def change(backend: Backend, handle: Handle, at: int) -> None:
    content = bytearray(backend.load(handle))
    content[at] ^= 1
    backend.save(handle, content)


def index_file_without(backend: Backend, pack: Handle) -> Handle:
    """What it says of a pack whose header is lost could be told by nothing else."""
    key = open_repository(backend, PASSWORD).key
    return next(
        info.handle
        for info in backend.list_files(FileType.INDEX)
        if pack.name.encode() not in load_unpacked(backend, key, info.handle)
    )


def largest_pack(backend: Backend) -> Handle:
    return max(backend.list_files(FileType.PACK), key=lambda info: info.size).handle


def test_of_the_index(backend: MemoryBackend) -> None:
    pack = largest_pack(backend)
    change(backend, index_file_without(backend, pack), 50)
    change(backend, pack, -1)
    for copy in killed(backend, repair_index):
        work(copy, repair_index)
        work(copy, repair_packs)
        assert problems(copy) == ()


def test_of_packs(backend: MemoryBackend) -> None:
    change(backend, largest_pack(backend), -30)
    for copy in killed(backend, repair_packs):
        work(copy, repair_packs)
        assert problems(copy) == ()


def test_of_snapshots(backend: MemoryBackend) -> None:
    repository = open_repository(backend, PASSWORD)
    root = repository.find_snapshot("latest").tree
    [directory] = decode_tree(repository.load_index().load(BlobType.TREE, root))
    found = repository.load_index().find(BlobType.DATA, _first_content(repository, directory.subtree))
    assert found is not None
    change(backend, Handle(FileType.PACK, found[0].hex()), found[1].offset + 20)
    work(backend, repair_packs)
    for copy in killed(backend, repair_snapshots):
        work(copy, repair_snapshots)
        assert problems(copy) == ()
        assert len(open_repository(copy, PASSWORD).snapshot_ids()) == 3


def _first_content(repository: Repository, tree: bytes | None) -> bytes:
    assert tree is not None
    return decode_tree(repository.load_index().load(BlobType.TREE, tree))[0].content
