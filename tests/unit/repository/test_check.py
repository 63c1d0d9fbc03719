from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from icebrick.backend.base import BackendWrapper, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import BackendUnavailableError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.check import packs, report
from icebrick.repository.check.check import CheckReport, check_repository
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.index.file import decode_index, encode_index
from icebrick.repository.repository import Repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node, encode_tree
from icebrick.repository.unpacked import load_unpacked, save_unpacked
from icebrick.secret import Secret
from icebrick.testing.repositories import add_foreign_lock, add_snapshot, make_repository

damages = pytest.mark.damages_repository("check must find it")


@pytest.fixture
def repository() -> Repository:
    return make_repository(MemoryBackend(), Secret("geheim"))


def rewrite_index(repository: Repository, change: Callable[[PackedBlob], PackedBlob | None]) -> None:
    """Let the index say something else of every blob; None takes it out."""
    for info in list(repository.backend.list_files(FileType.INDEX)):
        packs = list(decode_index(load_unpacked(repository.backend, repository.key, info.handle)))
        changed = [(pack, [new for blob in blobs if (new := change(blob))]) for pack, blobs in packs]
        repository.backend.remove(info.handle)
        save_unpacked(repository.backend, repository.key, FileType.INDEX, encode_index(changed))


def save_tree(repository: Repository, *nodes: Node) -> None:
    with repository.load_index().writer() as writer:
        tree = writer.save(BlobType.TREE, encode_tree(nodes))
    repository.save_snapshot(Snapshot(Timestamp(0), tree, ("/",), "host"))


def the_problem(report: CheckReport) -> str:
    [problem] = report.problems
    return problem


@pytest.mark.parametrize("read_data", [False, True])
def test_a_whole_repository_has_no_problems_and_is_counted(repository: Repository, read_data: bool) -> None:
    add_foreign_lock(repository)
    report = check_repository(repository, read_data=read_data)
    packs = list(repository.backend.list_files(FileType.PACK))
    assert report == CheckReport(
        problems=(),
        hints=(),
        snapshots=2,
        index_files=2,
        packs=len(packs),
        trees=4,
        bytes_read=sum(info.size for info in packs) if read_data else 0,
        packs_read=len(packs) if read_data else 0,
    )


def test_a_new_repository_has_no_problems(repository: Repository) -> None:
    for file_type in (FileType.SNAPSHOT, FileType.INDEX, FileType.PACK):
        for info in list(repository.backend.list_files(file_type)):
            repository.backend.remove(info.handle)
    assert check_repository(repository, read_data=True) == CheckReport((), (), 0, 0, 0, 0, 0)


def test_a_tree_that_snapshots_share_is_visited_once(repository: Repository) -> None:
    [snapshot, _] = repository.snapshots()
    repository.save_snapshot(replace(snapshot, hostname="another"))
    assert check_repository(repository).trees == 4


def test_a_pack_in_no_index_is_a_hint(repository: Repository) -> None:
    pack = Handle(FileType.PACK, digest(b"left by a killed run").hex())
    repository.backend.save(pack, b"left by a killed run")
    report = check_repository(repository)
    assert (report.problems, report.hints) == ((), (f"pack {pack.name} is in no index",))


def test_damage_to_a_pack_in_no_index_is_a_hint_too(repository: Repository) -> None:
    pack = Handle(FileType.PACK, digest(b"whole").hex())
    repository.backend.save(pack, b"who")
    report = check_repository(repository, read_data=True)
    assert report.problems == ()
    assert f"{pack} is damaged: its content does not match its name" in report.hints


@pytest.mark.parametrize("file_type", [FileType.KEY, FileType.SNAPSHOT, FileType.INDEX, FileType.PACK, FileType.LOCK])
@damages
def test_a_damaged_file_is_named_once(repository: Repository, file_type: FileType) -> None:
    add_foreign_lock(repository)
    damaged = next(iter(repository.backend.list_files(file_type))).handle
    repository.backend.save(damaged, b"damaged")
    problems = check_repository(repository, read_data=True).problems
    assert {problem.count(damaged.name) for problem in problems if damaged.name in problem} == {1}


def test_a_pack_in_two_index_files_is_a_hint(repository: Repository) -> None:
    info = next(iter(repository.backend.list_files(FileType.INDEX)))
    plain = load_unpacked(repository.backend, repository.key, info.handle)
    save_unpacked(repository.backend, repository.key, FileType.INDEX, plain + b" ")
    report = check_repository(repository, read_data=True)
    assert report.problems == ()
    assert all("is in more than one index file" in hint for hint in report.hints)
    assert report.hints


@damages
def test_two_index_files_that_contradict_each_other_are_a_problem(repository: Repository) -> None:
    info = next(iter(repository.backend.list_files(FileType.INDEX)))
    [(pack, blobs), *_] = decode_index(load_unpacked(repository.backend, repository.key, info.handle))
    contradiction = encode_index([(pack, [blob._replace(id=bytes(32)) for blob in blobs])])
    save_unpacked(repository.backend, repository.key, FileType.INDEX, contradiction)
    assert f"another index file says otherwise of pack {pack.hex()}" in the_problem(check_repository(repository))


@damages
def test_an_index_with_overlapping_blobs_is_a_problem(repository: Repository) -> None:
    rewrite_index(repository, lambda blob: blob._replace(offset=blob.offset // 2))
    assert any("is said to begin at" in problem for problem in check_repository(repository).problems)


@damages
def test_an_index_with_a_wrong_length_is_a_problem(repository: Repository) -> None:
    rewrite_index(repository, lambda blob: blob._replace(length=blob.length + 1) if blob.offset else blob)
    assert check_repository(repository).problems


@damages
def test_an_index_that_names_a_wrong_blob_is_found_by_reading_the_header(repository: Repository) -> None:
    add_snapshot(repository, {"only once": b"x" * 100})
    wrong = digest(b"x" * 100)
    repository.remove_snapshot(repository.find_snapshot("latest").id or "")
    for snapshot_id in repository.snapshot_ids():
        repository.remove_snapshot(snapshot_id)
    rewrite_index(repository, lambda blob: blob._replace(id=bytes(32)) if blob.id == wrong else blob)
    assert check_repository(repository).problems == ()
    assert "its header lists other blobs than the index" in the_problem(check_repository(repository, read_data=True))


@damages
def test_a_missing_tree_is_named_with_its_place(repository: Repository) -> None:
    save_tree(repository, Node("sub\n", type="dir", subtree=bytes(32)))
    problem = the_problem(check_repository(repository))
    assert f"tree {bytes(32).hex()} of snapshot" in problem
    assert r"/'sub\n': tree blob" in problem


@damages
def test_a_missing_data_blob_is_named_with_its_file(repository: Repository) -> None:
    save_tree(repository, Node("f", size=1, content=bytes(32)))
    assert "/'f': 1 blobs are in no index" in the_problem(check_repository(repository))


@damages
def test_a_tree_where_data_should_be_is_missing_data(repository: Repository) -> None:
    [snapshot, _] = repository.snapshots()
    save_tree(repository, Node("f", size=1, content=snapshot.tree))
    assert "/'f': 1 blobs are in no index" in the_problem(check_repository(repository))


def test_a_file_longer_than_its_blobs_is_a_problem(repository: Repository) -> None:
    save_tree(repository, Node("f", size=5))
    assert "its blobs have 0 bytes, it must have 5" in the_problem(check_repository(repository))


@damages
def test_a_directory_without_a_tree_is_a_problem(repository: Repository) -> None:
    save_tree(repository, Node("d", type="dir"))
    assert "/'d': directory without a tree" in the_problem(check_repository(repository))


@damages
def test_a_tree_that_cannot_be_read_is_a_problem(repository: Repository) -> None:
    with repository.load_index().writer() as writer:
        tree = writer.save(BlobType.TREE, b"no tree")
    repository.save_snapshot(Snapshot(Timestamp(0), tree, ("/",), "host"))
    assert "not JSON" in the_problem(check_repository(repository))


def test_what_is_too_long_for_a_pack_is_not_read(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MAX_PACK_SIZE", 1000)
    problems = check_repository(repository, read_data=True).problems
    assert [problem.partition(", ")[2] for problem in problems] == ["more than any pack"] * 2


def test_problems_beyond_a_thousand_are_only_counted(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_PROBLEMS", 2)
    save_tree(repository, *(Node(f"f{number}", size=5) for number in range(5)))
    assert len(check_repository(repository).problems) == 3
    assert check_repository(repository).problems[-1] == "and 3 more problems"


def test_a_storage_that_does_not_answer_says_nothing_of_the_data(repository: Repository) -> None:
    class Unavailable(BackendWrapper):
        def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
            if handle.type is FileType.PACK:
                raise BackendUnavailableError("no answer")
            return super().load(handle, offset=offset, length=length)

    repository.backend.inner = Unavailable(repository.backend.inner)
    with pytest.raises(BackendUnavailableError):
        check_repository(repository)
