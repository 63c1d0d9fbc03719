"""Which snapshots are copied, and that all of them comes along, whatever fails on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.workflow.conftest import CHEAP, World

from icebrick.backend.base import FileType
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import UsageError
from icebrick.progress import NO_PROGRESS
from icebrick.repository.check.check import check_repository
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.secret import Secret
from icebrick.testing.fakehost import FakeTime, fake_host
from icebrick.testing.faults import Death, DyingBackend, deaths
from icebrick.testing.repositories import add_tree, in_memory
from icebrick.workflow.copy import CopyReport, check_apart, plan_copy, run_copy

PASSWORD = Secret("geheim")
VOLUME = bytes(range(256)) * 4096 * 3
TREE = {"a": {"deep": {"file": bytes(range(256)) * 100, "empty": b""}}, "b": b"12345", "link": "b"}


def new_repository() -> Repository:
    return init_repository(MemoryBackend(), PASSWORD, parameters=CHEAP)


@pytest.fixture
def source() -> Repository:
    repository = new_repository()
    add_tree(repository, TREE, 1, paths=("/cinder/v1",), tags=("x",))
    add_tree(repository, {**TREE, "c": b"new"}, 2, paths=("/cinder/v1",))
    return repository


def copy(source: Repository, target: Repository) -> CopyReport:
    plan = plan_copy(source.snapshots(), target.snapshots())
    return run_copy(plan.wanted, source.load_index(), target, target.load_index(), NO_PROGRESS)


def test_a_copy_has_all_snapshots_and_nothing_is_wrong_with_it(source: Repository) -> None:
    target = new_repository()
    report = copy(source, target)
    found = list(target.snapshots())
    assert [snapshot.id for snapshot in found] == [each.target_id for each in report.copied]
    originals = [replace(each, id=None, original=each.id) for each in source.snapshots()]
    assert [replace(each, id=None) for each in found] == originals
    assert check_repository(target, read_data=True).problems == ()


def test_what_was_copied_is_not_copied_again(source: Repository) -> None:
    target = new_repository()
    copy(source, target)
    plan = plan_copy(source.snapshots(), target.snapshots())
    assert (plan.wanted, len(plan.present)) == ((), 2)


def test_a_copy_of_a_copy_is_known_in_the_first_repository(source: Repository) -> None:
    target = new_repository()
    copy(source, target)
    assert plan_copy(target.snapshots(), source.snapshots()).wanted == ()


def test_a_snapshot_whose_tags_were_changed_is_copied_again(source: Repository) -> None:
    target = new_repository()
    copy(source, target)
    [first, _] = source.snapshots()
    source.save_snapshot(replace(first, tags=("y",), original=first.id))
    source.remove_snapshot(first.id or "")
    assert [each.tags for each in plan_copy(source.snapshots(), target.snapshots()).wanted] == [("y",)]


def test_only_what_is_not_there_is_copied(source: Repository) -> None:
    target = new_repository()
    add_tree(target, TREE, 7)
    first, second = copy(source, target).copied
    assert first.bytes_new == 0
    assert 0 < second.bytes_new < 2000


@pytest.mark.damages_repository("what is missing is what is tested")
def test_what_is_damaged_fails_its_snapshots_and_no_others(source: Repository) -> None:
    before = {info.handle for info in source.backend.list_files(FileType.PACK)}
    lonely = add_tree(source, {"lonely": b"only here" * 100}, 3)
    for info in list(source.backend.list_files(FileType.PACK)):
        if info.handle not in before:
            source.backend.save(info.handle, bytes(info.size))
    target = new_repository()
    report = copy(source, target)
    assert [failure.source_id for failure in report.failures] == [lonely]
    assert (len(report.copied), len(list(target.snapshots()))) == (2, 2)
    assert check_repository(target, read_data=True).problems == ()


def test_whenever_a_copy_dies_the_next_one_completes_it(source: Repository) -> None:
    empty = new_repository().backend
    living = DyingBackend(in_memory(empty))
    copy(source, open_repository(living, PASSWORD))
    for at, effective in deaths(living.writes):
        files = in_memory(empty)
        with pytest.raises(Death):
            copy(source, open_repository(DyingBackend(files, at=at, effective=effective), PASSWORD))
        target = open_repository(files, PASSWORD)
        assert check_repository(target, read_data=True).problems == ()
        copy(source, target)
        assert check_repository(target, read_data=True).problems == ()
        assert len(list(target.snapshots())) == 2


@pytest.fixture
def moved(world: World) -> World:
    """With the volume in the cloud, and a copy of its backup in another repository."""
    world.back_up(world.make_volume(VOLUME).id)
    target = init_repository(MemoryBackend(), PASSWORD, parameters=CHEAP, host=fake_host(FakeTime()))
    copy(world.repository, target)
    return replace(world, repository=target)


def test_a_volume_is_restored_from_a_copy(moved: World) -> None:
    [volume_id] = moved.cloud.records.volumes
    moved.cloud.delete_volume(volume_id)
    assert moved.content(moved.restore(volume_id).volume_id) == VOLUME


def test_backups_go_on_from_a_copy(moved: World) -> None:
    [volume_id] = moved.cloud.records.volumes
    [saved] = moved.back_up(volume_id).backups
    [first, _] = moved.snapshots()
    assert saved.parent_id == first.id
    assert saved.bytes_new < len(VOLUME) // 50


def test_a_repository_is_not_copied_into_itself(source: Repository) -> None:
    with pytest.raises(UsageError, match="are the same repository"):
        check_apart(source, open_repository(source.backend, PASSWORD))
