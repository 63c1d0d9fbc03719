"""The backends that fail on purpose do so exactly as planned."""

from __future__ import annotations

import pytest

from icebrick.backend.base import FileInfo, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import AccessDeniedError, BackendUnavailableError
from icebrick.testing.faults import Death, DyingBackend, Fault, FaultyBackend, Kind, Op, deaths, random_faults

PACK = Handle(FileType.PACK, "ab" + "0" * 62)
OTHER = Handle(FileType.PACK, "ab" + "1" * 62)


@pytest.fixture
def medium():
    """With PACK in it."""
    medium = MemoryBackend()
    medium.save(PACK, b"old pack")
    return medium


def names(backend):
    return {info.handle for info in backend.list_files(FileType.PACK)}


# FaultyBackend


def test_only_the_planned_call_fails(medium):
    backend = FaultyBackend(medium, [Fault(Op.LOAD, 2, error=AccessDeniedError)])
    assert backend.load(PACK) == b"old pack"
    with pytest.raises(AccessDeniedError, match="call 2 of load"):
        backend.load(PACK)
    assert backend.load(PACK) == b"old pack"
    assert backend.met == [Fault(Op.LOAD, 2, error=AccessDeniedError)]


@pytest.mark.parametrize(
    ("kind", "left"), [(Kind.BEFORE, b"old pack"), (Kind.AFTER, b"new pack"), (Kind.TORN, b"new ")]
)
def test_a_failing_save_leaves_what_its_kind_says(medium, kind, left):
    backend = FaultyBackend(medium, [Fault(Op.SAVE, 1, kind)])
    with pytest.raises(BackendUnavailableError):
        backend.save(PACK, b"new pack")
    assert medium.load(PACK) == left


@pytest.mark.parametrize(("kind", "left"), [(Kind.BEFORE, {PACK}), (Kind.AFTER, set())])
def test_a_failing_removal_leaves_what_its_kind_says(medium, kind, left):
    backend = FaultyBackend(medium, [Fault(Op.REMOVE, 1, kind)])
    with pytest.raises(BackendUnavailableError):
        backend.remove(PACK)
    assert names(medium) == left


def test_a_short_load_gives_half_and_says_nothing(medium):
    assert FaultyBackend(medium, [Fault(Op.LOAD, 1, Kind.SHORT)]).load(PACK) == b"old "


def test_a_wrong_load_differs_in_one_bit_and_always_in_the_same(medium):
    first, second = (FaultyBackend(medium, [Fault(Op.LOAD, 1, Kind.WRONG)], seed=5).load(PACK) for _ in range(2))
    assert first == second
    assert sum((a ^ b).bit_count() for a, b in zip(first, b"old pack", strict=True)) == 1


def test_a_torn_listing_gives_half_and_fails(medium):
    medium.save(OTHER, b"other")
    found = []
    with pytest.raises(BackendUnavailableError):
        for info in FaultyBackend(medium, [Fault(Op.LIST, 1, Kind.TORN)]).list_files(FileType.PACK):
            found.append(info)
    assert len(found) == 1


def test_a_stale_listing_shows_the_medium_as_it_was_before_our_changes(medium):
    backend = FaultyBackend(medium, [Fault(Op.LIST, 1, Kind.STALE)])
    backend.save(OTHER, b"other")
    backend.remove(PACK)
    assert list(backend.list_files(FileType.PACK)) == [FileInfo(PACK, 8)]
    assert names(backend) == {OTHER}


def test_what_an_operation_cannot_suffer_cannot_be_planned():
    with pytest.raises(ValueError, match="stat cannot fail torn"):
        Fault(Op.STAT, 1, Kind.TORN)


def test_random_faults_are_the_same_for_the_same_seed():
    first, second, other = (list(random_faults(seed, rate=0.3, calls=50)) for seed in (1, 1, 2))
    assert first == second != other


def test_random_faults_are_of_the_kinds_asked_for_and_about_as_many():
    plan = list(random_faults(3, rate=0.5, calls=200, kinds=[Kind.BEFORE]))
    assert {fault.kind for fault in plan} == {Kind.BEFORE}
    assert 400 < len(plan) < 600


# DyingBackend


def write_three(backend):
    backend.save(OTHER, b"1")
    backend.remove(PACK)
    backend.save(PACK, b"3")


@pytest.mark.parametrize(
    ("at", "effective", "left"),
    [
        (1, False, {PACK: 8}),
        (1, True, {PACK: 8, OTHER: 1}),
        (2, False, {PACK: 8, OTHER: 1}),
        (2, True, {OTHER: 1}),
        (3, False, {OTHER: 1}),
        (3, True, {PACK: 1, OTHER: 1}),
    ],
)
def test_a_death_leaves_what_was_written_before_it(medium, at, effective, left):
    with pytest.raises(Death, match=f"write {at}"):
        write_three(DyingBackend(medium, at=at, effective=effective))
    assert {info.handle: info.size for info in medium.list_files(FileType.PACK)} == left


def test_who_lives_tells_how_often_it_could_have_died(medium):
    backend = DyingBackend(medium)
    write_three(backend)
    assert backend.writes == 3
    assert list(deaths(backend.writes)) == [(1, False), (1, True), (2, False), (2, True), (3, False), (3, True)]


@pytest.mark.parametrize(
    "call",
    [
        lambda backend: backend.load(PACK),
        lambda backend: backend.stat(PACK),
        lambda backend: list(backend.list_files(FileType.PACK)),
        lambda backend: backend.save(OTHER, b"other"),
        lambda backend: backend.remove(PACK),
        lambda backend: backend.create(),
    ],
)
def test_the_dead_do_nothing_any_more(medium, call):
    backend = DyingBackend(medium, at=1)
    with pytest.raises(Death):
        backend.save(OTHER, b"other")
    with pytest.raises(Death, match="dead already"):
        call(backend)
    assert names(medium) == {PACK}


def test_the_medium_outlives_the_process(medium):
    closed = []

    class Medium(DyingBackend):
        def close(self):
            closed.append(True)

    backend = DyingBackend(Medium(medium), at=1)
    with pytest.raises(Death):
        backend.remove(PACK)
    backend.close()
    assert closed == []


def test_a_death_is_no_error_that_code_could_handle():
    assert not issubclass(Death, Exception)
