"""A backup that is killed at any write leaves a repository that is whole, and the next one succeeds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from icebrick.backend.base import Backend, FileType
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.restore import dump_image, restore_image
from icebrick.parallel import Slots
from icebrick.repository.check.check import check_repository
from icebrick.testing.bytesdevice import BytesSource, BytesTarget
from icebrick.testing.faults import Death, DyingBackend, deaths
from icebrick.testing.images import PASSWORD, load_image, same_repository, save_backup, small_repository
from icebrick.testing.restic import Restic

BLOCK = 4096
OPTIONS = BlockOptions(block_size=BLOCK, slots=Slots(2))


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several packs and index files from little data."""
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", 3 * BLOCK)
    monkeypatch.setattr("icebrick.repository.packwriter.INDEX_BLOBS", 9)


def noise(blocks: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(blocks * BLOCK)


FIRST = noise(14, 1) + bytes(2 * BLOCK) + noise(4, 2)[:-100]
SECOND = noise(12, 3) + FIRST[12 * BLOCK :]


@dataclass(frozen=True, slots=True)
class Medium:
    """A repository with one backup of FIRST, and what a second one of SECOND writes."""

    backend: MemoryBackend
    parent: str
    writes: int

    def copy(self) -> MemoryBackend:
        other = MemoryBackend()
        copy_files(self.backend, other)
        return other


def copy_files(source: Backend, target: Backend) -> None:
    for file_type in FileType:
        for info in source.list_files(file_type):
            target.save(info.handle, source.load(info.handle))


def back_up(backend: Backend, content: bytes, parent: str | None = None) -> str:
    repository = same_repository(backend)
    with repository.lock():
        return save_backup(repository, BytesSource(content), parent=parent, options=OPTIONS).snapshot_id


@pytest.fixture
def medium(small_packs: None) -> Medium:
    backend = MemoryBackend()
    small_repository(backend)
    parent = back_up(backend, FIRST)
    trial = MemoryBackend()
    copy_files(backend, trial)
    counting = DyingBackend(trial)
    back_up(counting, SECOND, parent)
    return Medium(backend, parent, counting.writes)


def content_of(backend: Backend, snapshot_id: str) -> bytes:
    image, store = load_image(same_repository(backend), snapshot_id)
    parts: list[bytes] = []
    dump_image(image, store, lambda data: parts.append(bytes(data)), options=OPTIONS)
    return b"".join(parts)


def killed(medium: Medium) -> Iterator[MemoryBackend]:
    """What each death leaves."""
    for at, effective in deaths(medium.writes):
        backend = medium.copy()
        with pytest.raises(Death):
            back_up(DyingBackend(backend, at=at, effective=effective), SECOND, medium.parent)
        yield backend


def test_a_backup_makes_enough_writes_to_die_at(medium: Medium) -> None:
    assert medium.writes >= 9  # lock, packs of data, two index files, tree, snapshot, lock removed


def test_after_any_death_only_whole_snapshots_are_seen(medium: Medium) -> None:
    for backend in killed(medium):
        expected = {medium.parent: FIRST}
        for snapshot_id in same_repository(backend).snapshot_ids():
            assert content_of(backend, snapshot_id) == expected.get(snapshot_id, SECOND)
        assert content_of(backend, medium.parent) == FIRST


def test_after_any_death_a_check_of_all_data_finds_no_problem(medium: Medium) -> None:
    for backend in killed(medium):
        report = check_repository(same_repository(backend), read_data=True)
        assert report.problems == ()


def test_after_any_death_the_next_backup_succeeds_and_restores_the_same(medium: Medium) -> None:
    for backend in killed(medium):
        snapshot_id = back_up(backend, SECOND, medium.parent)
        image, store = load_image(same_repository(backend), snapshot_id)
        target = BytesTarget(len(SECOND))
        restore_image(image, store, target, options=OPTIONS)
        assert target.content() == SECOND
        assert check_repository(same_repository(backend), read_data=True).problems == ()


def test_the_next_backup_uses_what_a_killed_one_indexed_on_the_way(small_packs: None) -> None:
    counting = DyingBackend(MemoryBackend())
    small_repository(counting)
    before = counting.writes
    back_up(counting, FIRST)
    killed_at_its_snapshot = MemoryBackend()
    small_repository(killed_at_its_snapshot)
    with pytest.raises(Death):
        back_up(DyingBackend(killed_at_its_snapshot, at=counting.writes - before - 1), FIRST)
    assert same_repository(killed_at_its_snapshot).snapshot_ids() == []
    packs = len(list(killed_at_its_snapshot.list_files(FileType.PACK)))
    repository = same_repository(killed_at_its_snapshot)
    result = save_backup(repository, BytesSource(FIRST), options=OPTIONS).result
    # only the tree and the fingerprints' file, whose key is new, are stored again
    assert len(list(killed_at_its_snapshot.list_files(FileType.PACK))) <= packs + 2
    assert result.stats.stored == 18


@pytest.mark.slow
def test_restic_finds_no_error_after_any_death(medium: Medium, restic: str, tmp_path: Path) -> None:
    for number, backend in enumerate(killed(medium)):
        local = LocalBackend(tmp_path / str(number))
        local.create()
        copy_files(backend, local)
        local.close()
        # the dead process's lock would be in the way
        Restic(restic, tmp_path / str(number), PASSWORD.reveal()).run("check", "--read-data", "--no-lock")
