"""Listings: complete, of one type, and not upset by what happens meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.conformance.base import (
    CONFIG,
    CONTENT,
    NAMED_TYPES,
    listed,
    named,
    noise,
    require,
    require_same,
    save_content,
)
from icebrick.parallel import Workers


def an_empty_place_lists_nothing(backend: Backend) -> None:
    """Where nothing was saved, nothing is listed."""
    for file_type in FileType:
        require_same(f"a listing of {file_type.value}", listed(backend, file_type), set())


def a_listing_has_every_file_of_its_type_with_its_size(backend: Backend) -> None:
    """A listing has every file of its type, with its size, and no other."""
    contents = [noise(size, size) for size in range(20)]
    wanted = {kind: {FileInfo(named(one, kind), len(one)) for one in contents} for kind in NAMED_TYPES}
    with Workers[FileInfo](
        lambda info: backend.save(info.handle, contents[info.size]), threads=backend.connections
    ) as workers:
        for files in wanted.values():
            for info in files:
                workers.put(info)
    backend.save(CONFIG, b"config")
    for kind, files in wanted.items():
        require_same(f"a listing of {kind.value}", listed(backend, kind), files)


def the_config_is_listed_once_it_is_there(backend: Backend) -> None:
    """The config is listed once it is there."""
    backend.save(CONFIG, b"config")
    require_same("a listing of the config", listed(backend, FileType.CONFIG), {FileInfo(CONFIG, 6)})


def a_listing_goes_on_when_its_files_are_removed_meanwhile(backend: Backend) -> None:
    """A listing goes on when its files are removed meanwhile."""
    handles = {named(noise(8, seed), FileType.LOCK) for seed in range(20)}
    for handle in handles:
        backend.save(handle, b"lock")
    given: set[Handle] = set()
    for info in backend.list_files(FileType.LOCK):
        if not given:
            for other in handles - {info.handle}:
                backend.remove(other)
        given.add(info.handle)
    require(bool(given), "the listing does not have what was saved")
    require(given <= handles, "the listing gives files that never were")
    require(len(listed(backend, FileType.LOCK)) <= 1, "the next listing has files that were removed")


def a_listing_left_early_holds_nothing_up(backend: Backend) -> None:
    """A listing that is left early holds nothing up."""
    saved = save_content(backend)
    backend.save(named(b"second"), b"second")
    for _ in range(10):
        first = next(iter(backend.list_files(FileType.PACK)), None)
        require(first is not None, "a listing does not have what was saved")
    require_same("a file loaded afterwards", backend.load(saved), CONTENT)


def a_listing_while_files_are_saved_has_only_whole_ones(backend: Backend) -> None:
    """A listing while files are saved has all that were there before, and of the others only whole ones."""
    saved = save_content(backend)
    contents = [noise(5000, seed) for seed in range(12)]
    with Workers[bytes](lambda content: backend.save(named(content), content), threads=2) as workers:
        for content in contents:
            workers.put(content)
            found = {info.handle: info.size for info in backend.list_files(FileType.PACK)}
            require_same("the size of the file that was there", found.pop(saved, None), len(CONTENT))
            require(set(found.values()) <= {5000}, "a file of which only a part was saved is listed")
    require_same("files listed at the end", len(listed(backend, FileType.PACK)), 13)


def sweeping_keeps_every_file(backend: Backend) -> None:
    """Sweeping up what killed processes left keeps every file."""
    saved = save_content(backend)
    backend.save(CONFIG, b"config")
    require_same("files swept", backend.sweep(datetime.now(UTC)), 0)
    require_same("a pack", backend.load(saved), CONTENT)
    require_same("the config", backend.load(CONFIG), b"config")
