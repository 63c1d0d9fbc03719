from __future__ import annotations

import random

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import RepositoryError
from icebrick.repository.check.check import check_repository
from icebrick.repository.repair.packs import PackRepair, PackRepairPlan, execute_repair_packs, plan_repair_packs
from icebrick.repository.repository import Repository
from icebrick.secret import Secret
from icebrick.testing.repositories import add_tree, make_repository

damages = pytest.mark.damages_repository("a damaged blob is lost")


@pytest.fixture
def repository() -> Repository:
    made = make_repository(MemoryBackend(), Secret("geheim"))
    chance = random.Random(5)
    add_tree(made, {f"f{number}": chance.randbytes(8000) for number in range(5)}, 9)
    return made


@pytest.fixture
def largest(repository: Repository) -> Handle:
    """A pack of five blobs."""
    return max(repository.backend.list_files(FileType.PACK), key=lambda info: info.size).handle


def packs(repository: Repository) -> set[Handle]:
    return {info.handle for info in repository.backend.list_files(FileType.PACK)}


def repair(repository: Repository, *only: bytes) -> tuple[PackRepairPlan, PackRepair]:
    with repository.lock(exclusive=True):
        plan = plan_repair_packs(repository, only)
        return plan, execute_repair_packs(repository, plan)


def flip(repository: Repository, handle: Handle, at: int) -> None:
    content = bytearray(repository.backend.load(handle))
    content[at] ^= 1
    repository.backend.save(handle, content)


def test_whole_packs_stay(repository: Repository) -> None:
    before = packs(repository)
    plan, done = repair(repository)
    assert plan.packs_read == len(before)
    assert (plan.damaged, done) == ({}, PackRepair(0, 0, 0))
    assert packs(repository) == before


@damages
def test_of_a_damaged_pack_the_whole_blobs_are_kept(repository: Repository, largest: Handle) -> None:
    flip(repository, largest, 100)
    plan, done = repair(repository)
    assert list(plan.damaged) == [bytes.fromhex(largest.name)]
    assert done == PackRepair(packs_removed=1, blobs_salvaged=4, blobs_lost=1)
    assert largest not in packs(repository)
    [problem] = check_repository(repository, read_data=True).problems
    assert "'f0': 1 blobs are in no index" in problem


@pytest.mark.parametrize("at", [-2, -60])
def test_a_damaged_header_costs_nothing(repository: Repository, largest: Handle, at: int) -> None:
    flip(repository, largest, at)
    _, done = repair(repository)
    assert done == PackRepair(packs_removed=1, blobs_salvaged=5, blobs_lost=0)
    assert check_repository(repository, read_data=True).problems == ()


def test_two_packs_that_were_exchanged_are_both_saved(repository: Repository) -> None:
    one, two, *_ = sorted(packs(repository), key=str)
    contents = {handle: repository.backend.load(handle) for handle in (one, two)}
    repository.backend.save(one, contents[two])
    repository.backend.save(two, contents[one])
    _, done = repair(repository)
    assert (done.packs_removed, done.blobs_lost) == (2, 0)
    assert check_repository(repository, read_data=True).problems == ()


@damages
def test_a_blob_of_which_there_is_another_copy_is_not_lost(repository: Repository, largest: Handle) -> None:
    index = {
        info.handle: repository.backend.load(info.handle) for info in repository.backend.list_files(FileType.INDEX)
    }
    for handle in index:
        repository.backend.remove(handle)
    chance = random.Random(5)
    add_tree(repository, {f"f{number}": chance.randbytes(8000) for number in range(5)}, 10)
    for handle, content in index.items():
        repository.backend.save(handle, content)
    flip(repository, largest, 100)
    _, done = repair(repository, bytes.fromhex(largest.name))
    assert done.blobs_lost == 0


def test_a_pack_that_is_not_there_is_refused(repository: Repository) -> None:
    with pytest.raises(RepositoryError, match="no pack 0000"):
        repair(repository, bytes(32))


@damages
def test_only_the_named_packs_are_read(repository: Repository, largest: Handle) -> None:
    flip(repository, largest, 100)
    other = min(packs(repository) - {largest}, key=str)
    plan, _ = repair(repository, bytes.fromhex(other.name))
    assert (plan.packs_read, plan.damaged) == (1, {})
