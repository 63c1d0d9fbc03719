from __future__ import annotations

import random

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.repository.check.check import check_repository
from icebrick.repository.ids import digest
from icebrick.repository.index.file import decode_index, encode_index
from icebrick.repository.repair.index import IndexRepair, IndexRepairPlan, execute_repair_index, plan_repair_index
from icebrick.repository.repository import Repository
from icebrick.repository.unpacked import load_unpacked, save_unpacked
from icebrick.secret import Secret
from icebrick.testing.repositories import add_tree, make_repository

damages = pytest.mark.damages_repository("not all of it can be mended")


@pytest.fixture
def repository() -> Repository:
    made = make_repository(MemoryBackend(), Secret("geheim"))
    chance = random.Random(5)
    add_tree(made, {f"f{number}": chance.randbytes(8000) for number in range(5)}, 9)
    return made


def names(repository: Repository, file_type: FileType) -> list[Handle]:
    return [info.handle for info in repository.backend.list_files(file_type)]


def repair(repository: Repository, *, read_all_packs: bool = False) -> tuple[IndexRepairPlan, IndexRepair]:
    with repository.lock(exclusive=True):
        plan = plan_repair_index(repository, read_all_packs=read_all_packs)
        return plan, execute_repair_index(repository, plan)


def assert_whole(repository: Repository) -> None:
    report = check_repository(repository, read_data=True)
    assert (report.problems, report.hints) == ((), ())


def test_a_right_index_stays_as_it_is(repository: Repository) -> None:
    before = names(repository, FileType.INDEX)
    plan, done = repair(repository)
    assert (plan.problems, done) == ((), IndexRepair(0, 0, 0, 0, ()))
    assert names(repository, FileType.INDEX) == before


def test_all_headers_are_read_when_no_index_file_is_believed(repository: Repository) -> None:
    packs = len(names(repository, FileType.PACK))
    _, done = repair(repository, read_all_packs=True)
    assert done == IndexRepair(3, 1, packs, 0, ())
    assert_whole(repository)


@pytest.mark.parametrize("how", ["removed", "emptied", "cut", "flipped", "another's"])
def test_a_lost_or_damaged_index_file_is_made_again(repository: Repository, how: str) -> None:
    handle, other, *_ = names(repository, FileType.INDEX)
    content = bytearray(repository.backend.load(handle))
    content[len(content) // 2] ^= 4
    match how:
        case "removed":
            repository.backend.remove(handle)
        case "emptied":
            repository.backend.save(handle, b"")
        case "cut":
            repository.backend.save(handle, content[:-7])
        case "flipped":
            repository.backend.save(handle, content)
        case _:
            repository.backend.save(handle, repository.backend.load(other))
    plan, done = repair(repository)
    assert len(plan.unindexed) == done.packs_indexed == 2
    assert (how == "removed") == (plan.problems == ())
    assert_whole(repository)


def test_without_any_index_file_all_is_found_again(repository: Repository) -> None:
    for handle in names(repository, FileType.INDEX):
        repository.backend.remove(handle)
    repair(repository)
    assert_whole(repository)


def rewrite(repository: Repository, change: int) -> None:
    """One index file says something else of the lengths in one pack."""
    handle = names(repository, FileType.INDEX)[0]
    (pack, blobs), *others = decode_index(load_unpacked(repository.backend, repository.key, handle))
    wrong = [blob._replace(length=blob.length + change) for blob in blobs]
    save_unpacked(repository.backend, repository.key, FileType.INDEX, encode_index([(pack, wrong), *others]))


@pytest.mark.parametrize("change", [0, 1])
def test_of_two_index_files_that_differ_the_pack_decides(repository: Repository, change: int) -> None:
    rewrite(repository, change)
    repair(repository)
    assert_whole(repository)


def test_an_index_file_of_a_missing_pack_is_replaced(repository: Repository) -> None:
    packs = names(repository, FileType.PACK)
    snapshot = add_tree(repository, {"gone": b"g" * 5000}, 10)
    repository.remove_snapshot(snapshot)
    for handle in set(names(repository, FileType.PACK)) - set(packs):
        repository.backend.remove(handle)
    plan, done = repair(repository)
    assert len(plan.problems) == 2
    assert done.lost == ()
    assert_whole(repository)


def test_what_is_whole_of_a_pack_without_a_header_is_stored_anew(repository: Repository) -> None:
    largest = max(repository.backend.list_files(FileType.PACK), key=lambda info: info.size).handle
    content = repository.backend.load(largest)
    repository.backend.save(largest, content[:-1])
    plan, done = repair(repository)
    assert [problem for problem in plan.problems if largest.name in problem]
    assert done.blobs_salvaged == 5
    assert len(done.lost) == 1
    assert "0 are known to be damaged" in done.lost[0]
    assert check_repository(repository).problems == ()


@damages
def test_what_cannot_be_mended_is_told(repository: Repository) -> None:
    largest = max(repository.backend.list_files(FileType.PACK), key=lambda info: info.size).handle
    content = repository.backend.load(largest)
    repository.backend.save(largest, content[:10_000])
    _, done = repair(repository)
    assert done.blobs_salvaged == 1
    assert "1 blobs of it were saved, 4 are known to be damaged" in done.lost[0]


def test_a_pack_left_by_a_killed_run_comes_into_the_index(repository: Repository) -> None:
    handle = names(repository, FileType.INDEX)[-1]
    repository.backend.remove(handle)
    plan, done = repair(repository)
    assert done.packs_indexed == 2
    assert (plan.problems, len(plan.unindexed)) == ((), 2)


@damages
def test_what_is_no_pack_at_all_is_told_and_stays(repository: Repository) -> None:
    handle = Handle(FileType.PACK, digest(b"nonsense").hex())
    repository.backend.save(handle, b"nonsense")
    _, done = repair(repository)
    assert len(done.lost) == 1
    assert handle in names(repository, FileType.PACK)
