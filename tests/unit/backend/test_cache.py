"""What is kept on this host: when, how much, for how long, and what becomes of it when it is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from icebrick.app import opened_backend
from icebrick.backend import kept as kept_module
from icebrick.backend.base import BackendWrapper, FileType, Handle
from icebrick.backend.kept import KeptFiles, open_kept
from icebrick.backend.location import parse_location
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.wrap.cache import CacheBackend
from icebrick.config.settings import CacheSettings, RepositorySettings
from icebrick.parallel import Workers
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.repository import open_repository
from icebrick.repository.treecache import TreeCache
from icebrick.secret import Secret
from icebrick.testing.repositories import add_tree, make_repository

CONTENT = bytes(range(256)) * 10
SETTINGS = RepositorySettings(parse_location("local:/srv/backup"), None, None, None, None, None)


class Counted(BackendWrapper):
    """Tells which files were loaded from the medium."""

    def __init__(self) -> None:
        super().__init__(MemoryBackend())
        self.loads: list[Handle] = []
        self.stats = 0

    def load(self, handle, *, offset=0, length=None):
        self.loads.append(handle)
        return super().load(handle, offset=offset, length=length)

    def stat(self, handle):
        self.stats += 1
        return super().stat(handle)


def handle_of(content: bytes, file_type: FileType, *, trees: bool = False) -> Handle:
    return Handle(file_type, digest(content).hex(), trees)


INDEX = handle_of(CONTENT, FileType.INDEX)
TREES = handle_of(CONTENT, FileType.PACK, trees=True)


@pytest.fixture
def medium() -> Counted:
    """With files that others have stored."""
    medium = Counted()
    for handle in (INDEX, TREES, handle_of(CONTENT, FileType.SNAPSHOT)):
        medium.save(handle, CONTENT)
    return medium


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., KeptFiles]:
    def keep(location: str = "s3:here", limit: int = 1 << 20) -> KeptFiles:
        kept = open_kept(tmp_path / "cache", location, limit)
        assert kept is not None
        return kept

    return keep


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG")


@pytest.mark.parametrize("handle", [INDEX, TREES, handle_of(CONTENT, FileType.SNAPSHOT)], ids=str)
def test_what_was_read_is_not_fetched_again(medium, keep, handle) -> None:
    assert [CacheBackend(medium, keep()).load(handle) for _ in range(3)] == [CONTENT] * 3
    assert medium.loads == [handle]


@pytest.mark.parametrize("handle", [INDEX, TREES], ids=str)
def test_what_was_saved_is_not_fetched(keep, handle) -> None:
    medium = Counted()
    cache = CacheBackend(medium, keep())
    cache.save(handle, CONTENT)
    assert cache.load(handle, offset=5, length=7) == CONTENT[5:12]
    assert medium.loads == []


def test_a_pack_of_trees_is_fetched_once_for_all_its_parts(medium, keep) -> None:
    cache = CacheBackend(medium, keep())
    assert cache.load(TREES, offset=0, length=10) == CONTENT[:10]
    assert (cache.load(TREES, offset=100, length=10), cache.stat(TREES).size) == (CONTENT[100:110], len(CONTENT))
    assert (len(medium.loads), medium.stats) == (1, 1)


def test_of_a_very_long_pack_only_what_is_asked_for_is_fetched(medium, keep, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("icebrick.backend.wrap.cache.LARGEST_PACK", len(CONTENT) - 1)
    cache = CacheBackend(medium, keep())
    assert [cache.load(TREES, offset=3, length=2) for _ in range(3)] == [CONTENT[3:5]] * 3
    assert (medium.stats, files_in(tmp_path)) == (1, [])


def test_threads_that_want_parts_of_one_pack_fetch_it_once(medium, keep) -> None:
    cache = CacheBackend(medium, keep())
    with Workers(lambda offset: cache.load(TREES, offset=offset, length=1), threads=4) as workers:
        for offset in range(20):
            workers.put(offset)
    assert medium.loads == [TREES]


@pytest.mark.parametrize("file_type", [FileType.PACK, FileType.KEY, FileType.LOCK])
def test_data_keys_and_locks_are_not_kept(keep, tmp_path, file_type) -> None:
    cache = CacheBackend(MemoryBackend(), keep())
    handle = handle_of(CONTENT, file_type)
    cache.save(handle, CONTENT)
    cache.load(handle)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT + b"x", b"x" + CONTENT[1:]])
def test_a_damaged_file_is_fetched_again(medium, keep, tmp_path, damage) -> None:
    CacheBackend(medium, keep()).load(INDEX)
    [path] = files_in(tmp_path)
    path.write_bytes(damage)
    assert CacheBackend(medium, keep()).load(INDEX) == CONTENT
    assert path.read_bytes() == CONTENT


def test_damage_on_the_medium_is_passed_on_and_not_kept(medium, keep, tmp_path) -> None:
    medium.save(TREES, b"x" + CONTENT[1:])
    cache = CacheBackend(medium, keep())
    assert [cache.load(TREES, offset=0, length=2) for _ in range(2)] == [b"x\x01"] * 2
    assert files_in(tmp_path) == []


def test_what_a_listing_does_not_have_is_dropped(medium, keep, tmp_path) -> None:
    cache = CacheBackend(medium, keep())
    cache.load(INDEX)
    cache.load(TREES)
    medium.remove(INDEX)
    list(cache.list_files(FileType.INDEX))
    assert [path.parent.name for path in files_in(tmp_path)] == ["data"]


def test_what_is_removed_is_dropped(medium, keep, tmp_path) -> None:
    cache = CacheBackend(medium, keep())
    cache.load(INDEX)
    cache.remove(INDEX)
    assert files_in(tmp_path) == []


def test_the_files_of_all_locations_stay_below_the_limit_and_the_oldest_go(keep, tmp_path) -> None:
    contents = [bytes([number]) * 1000 for number in range(20)]
    for number, content in enumerate(contents):
        kept = keep(f"s3:{number % 3}", limit=8000)
        assert kept.store(handle_of(content, FileType.INDEX), content)
        newest = max(files_in(tmp_path), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    left = {path.read_bytes()[0] for path in files_in(tmp_path)}
    assert 5 <= len(left) <= 8
    assert min(left) == 20 - len(left)


def test_a_file_too_large_for_the_room_is_not_kept(keep) -> None:
    assert not keep(limit=len(CONTENT)).store(INDEX, CONTENT)


def test_a_full_disk_only_costs_time(medium, keep, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_module.os, "rename", refuse)
    cache = CacheBackend(medium, keep())
    assert [cache.load(INDEX), cache.load(INDEX)] == [CONTENT, CONTENT]


def test_only_the_user_may_read_what_is_kept(medium, keep, tmp_path) -> None:
    CacheBackend(medium, keep()).load(INDEX)
    [path] = files_in(tmp_path)
    modes = {each.stat().st_mode & 0o777 for each in (path, path.parent, path.parent.parent)}
    assert modes == {0o600, 0o700}


def test_a_directory_that_others_can_read_is_not_used(keep, tmp_path) -> None:
    keep()
    [place] = (tmp_path / "cache").iterdir()
    place.chmod(0o755)
    assert open_kept(tmp_path / "cache", "s3:here", 1 << 20) is None


def test_without_a_place_for_it_there_is_no_cache(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    assert open_kept(tmp_path / "file" / "cache", "s3:here", 1 << 20) is None


def test_a_repository_opened_again_fetches_no_index_snapshot_or_tree(keep) -> None:
    medium = Counted()
    repository = make_repository(medium, Secret("geheim"))
    add_tree(repository, {"a": {"b": {"c": b"x"}}})

    def read_trees() -> None:
        repository = open_repository(CacheBackend(medium, keep()), Secret("geheim"))
        snapshots = list(repository.snapshots())
        store = repository.load_index()
        for snapshot in snapshots:
            TreeCache(store).load(snapshot.tree)
            store.load(BlobType.TREE, snapshot.tree)

    read_trees()
    medium.loads.clear()
    read_trees()
    assert {handle.type for handle in medium.loads} <= {FileType.CONFIG, FileType.KEY}


@pytest.mark.parametrize("location", ["local:/srv/backup", "mem:"])
def test_what_is_near_is_not_cached(tmp_path, location) -> None:
    settings = replace(SETTINGS, location=parse_location(location), cache=CacheSettings(tmp_path / "cache", 1 << 20))
    with opened_backend(settings) as backend:
        assert not isinstance(backend, CacheBackend)
    assert not (tmp_path / "cache").exists()


def test_what_is_far_is_cached(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("icebrick.app.open_backend", lambda *_: MemoryBackend())
    settings = replace(SETTINGS, location=parse_location("s3:h/b"), cache=CacheSettings(tmp_path / "cache", 1 << 20))
    with opened_backend(settings) as backend:
        assert isinstance(backend, CacheBackend)
    with opened_backend(replace(settings, cache=None)) as backend:
        assert not isinstance(backend, CacheBackend)
