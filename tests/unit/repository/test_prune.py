from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import CorruptDataError
from icebrick.repository.check.check import check_repository
from icebrick.repository.ids import digest
from icebrick.repository.index.file import decode_index
from icebrick.repository.prune.execute import PruneOptions, PrunePlan, PruneResult, execute_prune, plan_prune
from icebrick.repository.repository import Repository
from icebrick.repository.unpacked import load_unpacked, save_unpacked
from icebrick.secret import Secret
from icebrick.testing.repositories import Tree, add_tree, in_memory, make_repository

PASSWORD = Secret("geheim")
NONE_UNUSED = PruneOptions(max_unused=0)
damages = pytest.mark.damages_repository("prune must refuse it")


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several packs from little data."""
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", 30_000)


@pytest.fixture
def repository(small_packs: None) -> Repository:
    return make_repository(MemoryBackend(), PASSWORD)


def noise(seed: int, size: int = 8000) -> bytes:
    return random.Random(1000 + seed).randbytes(size)


def files(seeds: Iterable[int]) -> Tree:
    """A directory of files of one blob each."""
    return {"sub": {f"{seed:05}": noise(seed) for seed in seeds}}


def names(repository: Repository, file_type: FileType) -> set[str]:
    return {info.handle.name for info in repository.backend.list_files(file_type)}


def forget(repository: Repository, *snapshot_ids: str) -> None:
    for snapshot_id in snapshot_ids or tuple(repository.snapshot_ids()):
        repository.remove_snapshot(snapshot_id)


def prune(repository: Repository, options: PruneOptions = NONE_UNUSED) -> tuple[PrunePlan, PruneResult]:
    with repository.lock(exclusive=True):
        plan = plan_prune(repository, options)
        result = execute_prune(repository, plan)
    assert check_repository(repository, read_data=True).problems == ()
    return plan, result


def stored_blobs(repository: Repository) -> list[bytes]:
    """The ids of all blobs in all index files, as often as they are there."""
    found: list[bytes] = []
    for info in repository.backend.list_files(FileType.INDEX):
        for _, blobs in decode_index(load_unpacked(repository.backend, repository.key, info.handle)):
            found += [blob.id for blob in blobs]
    return sorted(found)


def test_where_all_is_needed_nothing_is_removed(repository: Repository) -> None:
    before = names(repository, FileType.PACK)
    plan, result = prune(repository)
    assert names(repository, FileType.PACK) == before
    assert result.packs_removed == 0
    assert plan.figures.freed_bytes == plan.figures.unused_after == 0


def test_without_snapshots_nothing_is_left(repository: Repository) -> None:
    forget(repository)
    prune(repository)
    assert names(repository, FileType.PACK) == names(repository, FileType.INDEX) == set()


def test_an_empty_repository_can_be_pruned(repository: Repository) -> None:
    forget(repository)
    prune(repository)
    plan, _ = prune(repository)
    assert plan.figures.packs == 0


def test_packs_of_which_nothing_is_needed_go_and_others_stay(repository: Repository) -> None:
    first, second = repository.snapshot_ids()
    forget(repository, first)
    before = names(repository, FileType.PACK)
    plan, result = prune(repository)
    assert names(repository, FileType.PACK) < before
    assert result.packs_removed == plan.figures.packs_to_remove > 0
    assert repository.snapshot_ids() == [second]


def test_of_a_pack_that_is_partly_needed_only_that_is_left(repository: Repository) -> None:
    old = add_tree(repository, files(range(10)))
    add_tree(repository, files(range(0, 10, 2)))
    forget(repository, old)
    plan, _ = prune(repository)
    blobs = stored_blobs(repository)
    assert digest(noise(1)) not in blobs
    assert digest(noise(2)) in blobs
    assert len(blobs) == len(set(blobs)) == plan.figures.used.blobs
    assert plan.figures.unused_after == 0


def test_what_is_said_to_be_freed_is_freed(repository: Repository) -> None:
    old = add_tree(repository, files(range(40)))
    add_tree(repository, files(range(0, 40, 3)))
    forget(repository, old)

    def size() -> int:
        return sum(info.size for info in repository.backend.list_files(FileType.PACK))

    before = size()
    plan, _ = prune(repository)
    assert before - size() == pytest.approx(plan.figures.freed_bytes, rel=0.01)


def test_what_may_stay_unused_stays_and_is_told(repository: Repository) -> None:
    old = add_tree(repository, files(range(10)))
    add_tree(repository, files(range(9)))
    forget(repository, old)
    plan, _ = prune(repository, PruneOptions(max_unused=10**9))
    assert digest(noise(9)) in stored_blobs(repository)
    assert plan.figures.unused_after == 8032
    plan, _ = prune(repository, PruneOptions(max_unused=0.5))
    assert plan.figures.unused_after == 8032
    plan, _ = prune(repository, PruneOptions(max_unused=0.01))
    assert plan.figures.unused_after == 0


def test_no_more_than_allowed_is_repacked(repository: Repository) -> None:
    old = add_tree(repository, files(range(20)))
    add_tree(repository, files(range(0, 20, 2)))
    forget(repository, old)
    plan, result = prune(repository, PruneOptions(max_unused=0, max_repack=70_000))
    assert 0 < plan.figures.repack.bytes < 70_000
    assert plan.figures.unused_after > 0
    assert result.packs_written > 0


def test_packs_of_data_can_be_left_alone(repository: Repository) -> None:
    old = add_tree(repository, files(range(10)))
    add_tree(repository, files(range(0, 10, 2)))
    forget(repository, old)
    plan, _ = prune(repository, PruneOptions(max_unused=0, repack_trees_only=True))
    assert digest(noise(1)) in stored_blobs(repository)
    assert plan.figures.unused_after > 0


def test_many_small_packs_are_joined(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        add_tree(repository, files([number]), number)
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", 1 << 20)
    before = len(names(repository, FileType.PACK))
    prune(repository)
    assert len(names(repository, FileType.PACK)) < before - 12
    assert len(names(repository, FileType.INDEX)) <= 3


def test_prunes_come_to_an_end(repository: Repository) -> None:
    repository.backend.connections = 16
    old = add_tree(repository, files(range(60)))
    for number in range(8):
        add_tree(repository, files(range(number, 60, 4)), number)
    forget(repository, old)
    prune(repository)
    second, joining = prune(repository)  # the index of what was repacked with that of the rest
    before = {file_type: names(repository, file_type) for file_type in FileType}
    third, result = prune(repository)
    assert second.figures.packs_to_repack == third.figures.packs_to_repack == joining.packs_removed == 0
    assert result.index_files_removed == 0
    assert {file_type: names(repository, file_type) for file_type in FileType} == before


def test_a_pack_in_no_index_is_removed(repository: Repository) -> None:
    pack = Handle(FileType.PACK, digest(b"left by a killed run").hex())
    repository.backend.save(pack, b"left by a killed run")
    plan, _ = prune(repository)
    assert pack.name not in names(repository, FileType.PACK)
    assert plan.figures.unreferenced_bytes == 20


def test_a_pack_that_two_index_files_name_is_named_once_afterwards(repository: Repository) -> None:
    info = next(iter(repository.backend.list_files(FileType.INDEX)))
    plain = load_unpacked(repository.backend, repository.key, info.handle)
    save_unpacked(repository.backend, repository.key, FileType.INDEX, plain + b" ")
    packs = names(repository, FileType.PACK)
    plan, _ = prune(repository)
    assert plan.figures.duplicate.blobs == 0
    assert names(repository, FileType.PACK) == packs
    assert len(stored_blobs(repository)) == len(set(stored_blobs(repository)))


def copied_blobs(repository: Repository) -> None:
    """Store 20 files again that are stored already, as two backups at once may."""
    other = in_memory(repository.backend)
    for info in [*other.list_files(FileType.INDEX), *other.list_files(FileType.SNAPSHOT)]:
        other.remove(info.handle)
    twin = Repository(other, repository.key, repository.config, key_id=repository.key_id, host=repository._host)
    add_tree(twin, files(range(100, 120)))
    for file_type in (FileType.PACK, FileType.INDEX, FileType.SNAPSHOT):
        for info in other.list_files(file_type):
            repository.backend.save(info.handle, other.load(info.handle))


def test_of_a_blob_that_is_stored_several_times_one_copy_stays(repository: Repository) -> None:
    add_tree(repository, files(range(100, 120)))
    for _ in range(2):
        copied_blobs(repository)
    plan, _ = prune(repository)
    assert plan.figures.duplicate.blobs > 40
    blobs = stored_blobs(repository)
    assert len(blobs) == len(set(blobs)) == plan.figures.used.blobs


def test_a_plan_changes_nothing(repository: Repository) -> None:
    forget(repository, repository.snapshot_ids()[0])
    before = {file_type: names(repository, file_type) for file_type in FileType}
    plan_prune(repository, NONE_UNUSED)
    assert {file_type: names(repository, file_type) for file_type in FileType} == before


def test_a_plan_can_take_snapshots_as_gone(repository: Repository) -> None:
    plan = plan_prune(repository, NONE_UNUSED, without=repository.snapshot_ids())
    assert plan.figures.used.blobs == 0
    assert plan.figures.remove.blobs == plan.figures.unused.blobs > 0


def refused(repository: Repository, match: str) -> None:
    before = {file_type: names(repository, file_type) for file_type in FileType}
    with pytest.raises(CorruptDataError, match=match) as caught:
        execute_prune(repository, plan_prune(repository, NONE_UNUSED))
    assert {file_type: names(repository, file_type) for file_type in FileType} == before
    assert caught.value.hint is not None


@pytest.mark.parametrize("file_type", [FileType.SNAPSHOT, FileType.INDEX])
@damages
def test_with_a_file_that_cannot_be_read_nothing_is_removed(repository: Repository, file_type: FileType) -> None:
    forget(repository, repository.snapshot_ids()[0])
    damaged = next(iter(repository.backend.list_files(file_type))).handle
    repository.backend.save(damaged, b"damaged")
    refused(repository, damaged.name)


@damages
def test_with_a_lost_index_file_nothing_is_removed(repository: Repository) -> None:
    repository.backend.remove(next(iter(repository.backend.list_files(FileType.INDEX))).handle)
    refused(repository, "that snapshots need are in no index")


@damages
def test_with_a_needed_pack_missing_nothing_is_removed(repository: Repository) -> None:
    for info in list(repository.backend.list_files(FileType.PACK)):
        if info.size > 10_000:
            repository.backend.remove(info.handle)
    refused(repository, "packs that snapshots need are missing")


@damages
def test_with_a_needed_pack_cut_nothing_is_removed(repository: Repository) -> None:
    info = max(repository.backend.list_files(FileType.PACK), key=lambda info: info.size)
    repository.backend.save(info.handle, repository.backend.load(info.handle)[:-1])
    refused(repository, f"not as long as the index says, the first is {info.handle.name}")


@damages
def test_with_a_damaged_tree_nothing_is_removed(repository: Repository) -> None:
    for info in list(repository.backend.list_files(FileType.PACK)):
        if info.size < 10_000:
            content = bytearray(repository.backend.load(info.handle))
            content[20] ^= 1
            repository.backend.save(info.handle, content)
    refused(repository, "is damaged")


@damages
def test_when_what_must_be_repacked_is_damaged_nothing_that_an_index_names_is_removed(repository: Repository) -> None:
    old = add_tree(repository, files(range(10)))
    before = names(repository, FileType.PACK)
    add_tree(repository, files(range(0, 10, 2)))
    forget(repository, old)
    for info in list(repository.backend.list_files(FileType.PACK)):
        if info.size > 30_000:
            content = bytearray(repository.backend.load(info.handle))
            content[100] ^= 1
            repository.backend.save(info.handle, content)
    with pytest.raises(CorruptDataError, match="is damaged"):
        execute_prune(repository, plan_prune(repository, NONE_UNUSED))
    assert before <= names(repository, FileType.PACK)


def test_a_missing_pack_that_nobody_needs_is_taken_out_of_the_index(repository: Repository) -> None:
    old = add_tree(repository, files(range(200, 220)))
    before = names(repository, FileType.PACK)
    forget(repository, old)
    unneeded = plan_prune(repository, NONE_UNUSED)
    [lost, *_] = [pack_id for number, pack_id in enumerate(unneeded.pack_ids) if unneeded.gone[number]]
    repository.backend.remove(Handle(FileType.PACK, lost.hex()))
    prune(repository)
    assert lost.hex() in before
    assert check_repository(repository).hints == ()


def test_small_index_files_are_joined(repository: Repository) -> None:
    for number in range(5):
        add_tree(repository, files([number]), number)
    prune(repository, PruneOptions(max_unused=None))
    assert len(names(repository, FileType.INDEX)) == 1
    _, result = prune(repository, PruneOptions(max_unused=None))
    assert result.index_files_written == 0
