from __future__ import annotations

import random

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import CorruptDataError
from icebrick.repository.check.check import check_repository
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.repair.index import execute_repair_index, plan_repair_index
from icebrick.repository.repair.packs import execute_repair_packs, plan_repair_packs
from icebrick.repository.repair.snapshots import SnapshotRepair, execute_repair_snapshots, plan_repair_snapshots
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import MODE_DIR, Node, decode_tree, encode_tree
from icebrick.secret import Secret
from icebrick.testing.repositories import add_tree, make_repository

damages = pytest.mark.damages_repository("the damaged snapshots stay")


@pytest.fixture
def repository() -> Repository:
    return make_repository(MemoryBackend(), Secret("geheim"))


def noise(seed: int, size: int = 8000) -> bytes:
    return random.Random(1000 + seed).randbytes(size)


def names(repository: Repository, file_type: FileType) -> set[Handle]:
    return {info.handle for info in repository.backend.list_files(file_type)}


def repair(repository: Repository, *, forget: bool = True) -> tuple[SnapshotRepair, ...]:
    with repository.lock(exclusive=True):
        execute_repair_packs(repository, plan_repair_packs(repository))
        return execute_repair_snapshots(repository, plan_repair_snapshots(repository), forget=forget)


def lose(repository: Repository, blob_type: BlobType, *blob_ids: bytes) -> None:
    """Damage these blobs where they lie."""
    for blob_id in blob_ids:
        found = repository.load_index().find(blob_type, blob_id)
        assert found is not None
        handle = Handle(FileType.PACK, found[0].hex())
        content = bytearray(repository.backend.load(handle))
        content[found[1].offset + 20] ^= 1
        repository.backend.save(handle, content)


def nodes(repository: Repository, tree: bytes) -> dict[str, Node]:
    return {node.name: node for node in decode_tree(repository.load_index().load(BlobType.TREE, tree))}


def content(repository: Repository, node: Node) -> bytes:
    store = repository.load_index()
    ids = [node.content[start : start + ID_SIZE] for start in range(0, len(node.content), ID_SIZE)]
    return b"".join(store.load(BlobType.DATA, blob_id) for blob_id in ids)


def successor(repository: Repository, repairs: tuple[SnapshotRepair, ...]) -> Snapshot:
    [repair] = repairs
    assert repair.successor is not None
    return repository.load_snapshot(repair.successor)


def test_whole_snapshots_stay(repository: Repository) -> None:
    before = repository.snapshot_ids()
    assert repair(repository) == ()
    assert repository.snapshot_ids() == before


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_part_of_a_file_becomes_zeros(repository: Repository, lost: int) -> None:
    whole = noise(1, 20_000)  # parts of 8000, 8000 and 4000 bytes
    add_tree(repository, {"file": whole, "other": b"o" * 100}, 9)
    node = nodes(repository, repository.find_snapshot("latest").tree)["file"]
    lose(repository, BlobType.DATA, node.content[lost * ID_SIZE : (lost + 1) * ID_SIZE])
    mended = nodes(repository, successor(repository, repair(repository)).tree)
    start, end = lost * 8000, min(20_000, (lost + 1) * 8000)
    assert sorted(mended) == ["file.repaired", "other"]
    assert content(repository, mended["file.repaired"]) == whole[:start] + bytes(end - start) + whole[end:]
    assert check_repository(repository, read_data=True).problems == ()


def test_several_lost_parts_become_zeros_where_their_lengths_are_known(repository: Repository) -> None:
    whole = noise(1, 36_000)
    add_tree(repository, {"file": whole}, 9)
    ids = nodes(repository, repository.find_snapshot("latest").tree)["file"].content
    lose(repository, BlobType.DATA, ids[:ID_SIZE], ids[-ID_SIZE:])
    mended = nodes(repository, successor(repository, repair(repository)).tree)["file.repaired"]
    assert content(repository, mended) == bytes(8000) + whole[8000:32_000] + bytes(4000)


def test_where_it_is_not_known_how_long_lost_parts_were_the_rest_moves_up(repository: Repository) -> None:
    parts = [noise(number, size) for number, size in enumerate((100, 8000, 300, 5000))]
    with repository.load_index().writer() as writer:
        ids = [writer.save(BlobType.DATA, part) for part in parts]
        file = Node("file", size=sum(map(len, parts)), content=b"".join(ids))
        tree = writer.save(BlobType.TREE, encode_tree([file]))
    repository.save_snapshot(Snapshot(Timestamp(9), tree, ("/",), "host"))
    lose(repository, BlobType.DATA, ids[0], ids[2])
    [done] = repair(repository)
    assert "what is behind them has moved" in done.problems[0]
    mended = nodes(repository, successor(repository, (done,)).tree)["file.repaired"]
    assert mended.size == 13_000
    assert content(repository, mended) == parts[1] + parts[3]
    assert check_repository(repository, read_data=True).problems == ()


def test_a_directory_that_is_lost_becomes_empty(repository: Repository) -> None:
    add_tree(repository, {"dir": {"deep": {"file": noise(1)}}, "beside": noise(2)}, 9)
    lost = nodes(repository, repository.find_snapshot("latest").tree)["dir"].subtree
    assert lost is not None
    lose(repository, BlobType.TREE, lost)
    repairs = repair(repository)
    mended = nodes(repository, successor(repository, repairs).tree)
    assert repairs[0].problems[0].startswith("/dir: directory cannot be read")
    assert content(repository, mended["beside"]) == noise(2)
    assert mended["dir"].subtree is not None
    assert nodes(repository, mended["dir"].subtree) == {}


def test_a_directory_without_a_tree_becomes_empty(repository: Repository) -> None:
    with repository.load_index().writer() as writer:
        tree = writer.save(BlobType.TREE, encode_tree([Node("d", type="dir", mode=MODE_DIR)]))
    repository.save_snapshot(Snapshot(Timestamp(9), tree, ("/",), "host"))
    repair(repository)
    assert check_repository(repository, read_data=True).problems == ()


def test_the_successor_tells_what_it_is(repository: Repository) -> None:
    add_tree(repository, {"file": noise(1)}, 9, paths=("/cinder/v1",), tags=("volume:v1",))
    old = repository.find_snapshot("latest")
    lose(repository, BlobType.DATA, nodes(repository, old.tree)["file"].content)
    new = successor(repository, repair(repository))
    assert (new.original, new.tags, new.time, new.paths) == (old.id, ("volume:v1", "repaired"), old.time, old.paths)
    assert old.id not in repository.snapshot_ids()


@damages
def test_without_forgetting_the_damaged_one_stays_and_one_successor_is_enough(repository: Repository) -> None:
    old = add_tree(repository, {"file": noise(1)}, 9)
    lose(repository, BlobType.DATA, nodes(repository, repository.load_snapshot(old).tree)["file"].content)
    first = repair(repository, forget=False)
    assert repair(repository, forget=False) == first
    assert len(repository.snapshot_ids()) == 4
    assert old in repository.snapshot_ids()


def test_snapshots_of_which_nothing_can_be_read_are_only_forgotten(repository: Repository) -> None:
    rootless = add_tree(repository, {"file": noise(1)}, 9)
    lose(repository, BlobType.TREE, repository.load_snapshot(rootless).tree)
    unreadable = add_tree(repository, {"file": noise(2)}, 10)
    repository.backend.save(Handle(FileType.SNAPSHOT, unreadable), b"damaged")
    done = repair(repository)
    assert {each.snapshot_id: each.successor for each in done} == {rootless: None, unreadable: None}
    assert len(repository.snapshot_ids()) == 2
    assert check_repository(repository, read_data=True).problems == ()


@damages
def test_a_plan_changes_nothing(repository: Repository) -> None:
    old = add_tree(repository, {"file": noise(1)}, 9)
    ids = nodes(repository, repository.load_snapshot(old).tree)["file"].content
    lose(repository, BlobType.DATA, ids)
    execute_repair_packs(repository, plan_repair_packs(repository))
    before = {file_type: names(repository, file_type) for file_type in FileType}
    [plan] = plan_repair_snapshots(repository)
    assert plan.successor is None
    assert plan.tree is not None
    assert {file_type: names(repository, file_type) for file_type in FileType} == before


@damages
def test_a_wrong_index_must_be_mended_first(repository: Repository) -> None:
    repository.backend.remove(min(names(repository, FileType.PACK), key=str))
    with pytest.raises(
        CorruptDataError, match=r"the index is not right: pack [0-9a-f]+ is in the index, but not"
    ) as told:
        plan_repair_snapshots(repository)
    assert "icebrick repair index" in str(told.value.hint)
    execute_repair_index(repository, plan_repair_index(repository))
    assert plan_repair_snapshots(repository)


def test_trees_may_lie_deeper_than_python_calls_itself(repository: Repository) -> None:
    with repository.load_index().writer() as writer:
        tree = writer.save(BlobType.TREE, encode_tree([Node("f", size=5, content=bytes(32))]))
        for _ in range(1500):
            tree = writer.save(BlobType.TREE, encode_tree([Node("d", type="dir", mode=MODE_DIR, subtree=tree)]))
    snapshot_id = repository.save_snapshot(Snapshot(Timestamp(9), tree, ("/",), "host"))
    [plan] = plan_repair_snapshots(repository, [snapshot_id])
    assert plan.problems[0].endswith("/d/f: 1 of 1 blobs are lost, 5 bytes are now zeros")
    repository.remove_snapshot(snapshot_id)
