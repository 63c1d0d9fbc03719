"""Snapshots read back and held against their digests."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.fingerprint import Fingerprints
from icebrick.engine.block.image import save_image
from icebrick.parallel import Slots
from icebrick.progress import NO_PROGRESS
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node, encode_tree
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.images import MOMENT, save_backup, small_repository
from icebrick.testing.repositories import add_tree
from icebrick.workflow.images import load_images
from icebrick.workflow.record import FILE_NAME
from icebrick.workflow.verify_stored import Proof, StoredProofs

BLOCK = 64 << 10
CONTENT = random.Random(5).randbytes(5 * BLOCK) + bytes(12 * BLOCK) + b"the last, shorter block"
OPTIONS = BlockOptions(block_size=BLOCK)


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def repository(backend: MemoryBackend) -> Repository:
    return small_repository(backend)


@pytest.fixture
def proofs(repository: Repository) -> Callable[..., list[Proof]]:
    """Of the snapshots with these ids, in one run."""

    def prove(*ids: str) -> list[Proof]:
        run = StoredProofs(load_images(repository, NO_PROGRESS), Slots(2))
        return [run.prove(repository.load_snapshot(snapshot_id)) for snapshot_id in ids]

    return prove


def save(repository: Repository, content: bytes, parent: str | None = None) -> str:
    return save_backup(repository, BytesTarget(len(content), content), parent=parent, options=OPTIONS).snapshot_id


def test_an_image_is_proved_block_by_block(repository: Repository, proofs: Callable[..., list[Proof]]) -> None:
    saved = save_backup(repository, BytesTarget(len(CONTENT), CONTENT), options=OPTIONS)
    (proof,) = proofs(saved.snapshot_id)
    assert proof.problem_count == 0
    assert proof.fingerprints == 18
    assert proof.digest == saved.result.image.digest


def test_files_are_proved(repository: Repository, proofs: Callable[..., list[Proof]]) -> None:
    snapshot_id = add_tree(repository, {"files": {"a": b"x" * 20_000, "b": b"", "link": "a"}})
    (proof,) = proofs(snapshot_id)
    assert (proof.entries, proof.size, proof.problem_count) == (4, 20_000, 0)
    assert proof.digest == repository.load_snapshot(snapshot_id).tree.hex()


def test_an_empty_image_is_proved(repository: Repository, proofs: Callable[..., list[Proof]]) -> None:
    (proof,) = proofs(save(repository, bytes(3 * BLOCK)))
    assert (proof.problem_count, proof.fingerprints) == (0, 3)


def test_what_snapshots_share_is_read_once(repository: Repository, proofs: Callable[..., list[Proof]]) -> None:
    first = save(repository, CONTENT)
    second = save(repository, b"new" + CONTENT[3:], first)
    one, other = proofs(first, second)
    assert other.problem_count == 0
    assert other.fingerprints == 18
    assert 0 < other.bytes_read < 2 * BLOCK < one.bytes_read


@pytest.mark.damages_repository("flips a bit")
def test_a_damaged_block_is_found_and_the_file_it_belongs_to(
    repository: Repository, backend: MemoryBackend, proofs: Callable[..., list[Proof]]
) -> None:
    whole = save(repository, random.Random(6).randbytes(2 * BLOCK))
    packs = {info.handle.name for info in backend.list_files(FileType.PACK)}
    hurt = save(repository, CONTENT)
    flip(backend, packs)
    one, other = proofs(hurt, whole)
    assert [problem.path for problem in one.problems] == ["/volume.raw"]
    assert "damaged" in one.problems[0].reason
    assert other.problem_count == 0


@pytest.mark.damages_repository("flips a bit")
def test_damage_is_told_of_every_snapshot_that_has_it(
    repository: Repository, backend: MemoryBackend, proofs: Callable[..., list[Proof]]
) -> None:
    first = save(repository, CONTENT)
    flip(backend, set())
    assert all(proof.problem_count for proof in proofs(first, first))


def flip(backend: MemoryBackend, besides: set[str]) -> None:
    """A bit in the first blob of the largest of the other packs."""
    packs = [info for info in backend.list_files(FileType.PACK) if info.handle.name not in besides]
    handle = max(packs, key=lambda info: info.size).handle
    data = bytearray(backend.load(handle))
    data[100] ^= 1
    backend.remove(handle)
    backend.save(handle, data)


@pytest.mark.damages_repository("removes a pack")
def test_a_lost_pack_of_trees_is_a_problem_and_no_crash(
    repository: Repository, backend: MemoryBackend, proofs: Callable[..., list[Proof]]
) -> None:
    snapshot_id = save(repository, CONTENT)
    for info in list(backend.list_files(FileType.PACK)):
        backend.remove(Handle(FileType.PACK, info.handle.name))
    (proof,) = proofs(snapshot_id)
    assert proof.problem_count


def test_a_block_that_is_not_what_was_read_at_the_source_is_found(
    repository: Repository, proofs: Callable[..., list[Proof]]
) -> None:
    """As if a block had been taken for unchanged that was not: all blobs are right, but one is the wrong one."""
    saved = save_backup(repository, BytesTarget(len(CONTENT), CONTENT), options=OPTIONS)
    fingerprints = saved.result.image.fingerprints
    assert fingerprints is not None
    values = bytearray(fingerprints.values)
    values[16:32] = bytes(range(16))
    store = repository.load_index()
    with store.writer() as writer:
        ids = b"".join(writer.save(BlobType.DATA, CONTENT[n * BLOCK : (n + 1) * BLOCK]) for n in range(5))
        ids += bytes(12 * 32) + writer.save(BlobType.DATA, CONTENT[17 * BLOCK :])
        wrong = Fingerprints(fingerprints.blocks, fingerprints.key, bytes(values))
        _, nodes = save_image(writer, ids, wrong, MOMENT)
        tree = writer.save(BlobType.TREE, encode_tree(nodes))
    snapshot = Snapshot(MOMENT, tree, ("/volume",), "host")
    (proof,) = proofs(repository.save_snapshot(snapshot))
    assert [problem.reason for problem in proof.problems] == [
        f"the block at {BLOCK} is not what was read at the source"
    ]
    assert proof.fingerprints == 17


def test_a_file_that_has_another_size_than_its_data_is_a_problem(
    repository: Repository, proofs: Callable[..., list[Proof]]
) -> None:
    with repository.load_index().writer() as writer:
        content = writer.save(BlobType.DATA, b"four")
        tree = writer.save(BlobType.TREE, encode_tree([Node("wrong", size=5, content=content)]))
    snapshot_id = repository.save_snapshot(Snapshot(Timestamp(0), tree, ("/x",), "host"))
    (proof,) = proofs(snapshot_id)
    assert [problem.reason for problem in proof.problems] == ["it has 4 bytes, and should have 5"]


def test_a_record_from_which_no_volume_could_be_made_is_a_problem(
    repository: Repository, proofs: Callable[..., list[Proof]]
) -> None:
    (proof,) = proofs(add_tree(repository, {FILE_NAME: b"{}"}))
    assert [problem.path for problem in proof.problems] == [f"/{FILE_NAME}"]


def test_a_tree_that_is_in_no_index_is_a_problem(repository: Repository, proofs: Callable[..., list[Proof]]) -> None:
    snapshot = repository.load_snapshot(add_tree(repository, {"a": b"x"}))
    lost = replace(snapshot, tree=bytes(32), id=None)
    snapshot_id = repository.save_snapshot(lost)
    (proof,) = proofs(snapshot_id)
    assert proof.problem_count == 1
    repository.remove_snapshot(snapshot_id)
