"""What every backend must do, as a pytest suite to inherit.

    class TestLocal(DirectoryBackendContract):
        @pytest.fixture
        def backend(self, tmp_path): ...

The `backend` fixture gives one on which `create` was called, without any file, and closes it afterwards.
"""

from __future__ import annotations

import hashlib
import random
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.errors import FileMissingError, ShortReadError
from icebrick.parallel import Workers

CONFIG = Handle(FileType.CONFIG)
NAMED_TYPES: list[FileType] = [kind for kind in FileType if kind is not FileType.CONFIG]
CONTENT = bytes(range(256)) * 3
BIG = 33 << 20


def named(content: bytes, file_type: FileType = FileType.PACK) -> Handle:
    """The handle under which a repository keeps this content."""
    return Handle(file_type, hashlib.sha256(content).hexdigest())


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no two seeds share, and that no range of repeats."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - to be repeatable, not secret


def listed(backend: Backend, file_type: FileType) -> set[FileInfo]:
    """The files of the type; fails when one is given twice."""
    found = list(backend.list_files(file_type))
    assert len(set(found)) == len(found)
    return set(found)


class BackendContract:
    """One test for each guarantee in `icebrick.backend.base`."""

    @pytest.fixture
    @abstractmethod
    def backend(self) -> Iterator[Backend]:
        """A created, empty backend."""

    @pytest.fixture
    def saved(self, backend: Backend) -> Handle:
        """A pack with CONTENT in it."""
        handle = named(CONTENT)
        backend.save(handle, CONTENT)
        return handle

    # Saving and loading

    @pytest.mark.parametrize("file_type", list(FileType), ids=lambda kind: kind.value)
    def test_a_saved_file_of_any_type_loads_again(self, backend: Backend, file_type: FileType) -> None:
        handle = CONFIG if file_type is FileType.CONFIG else named(CONTENT, file_type)
        backend.save(handle, CONTENT)
        assert backend.load(handle) == CONTENT

    def test_an_empty_file_loads_as_no_bytes(self, backend: Backend) -> None:
        backend.save(named(b""), b"")
        assert backend.load(named(b"")) == b""
        assert backend.stat(named(b"")).size == 0

    def test_a_file_of_33_mib_comes_back_whole(self, backend: Backend) -> None:
        content = noise(BIG)
        backend.save(named(content), content)
        assert backend.stat(named(content)).size == BIG
        assert named(backend.load(named(content))) == named(content)

    def test_a_range_across_a_big_file_is_exact(self, backend: Backend) -> None:
        content = noise(BIG)
        backend.save(named(content), content)
        assert (
            backend.load(named(content), offset=(16 << 20) - 7, length=1 << 20) == content[(16 << 20) - 7 :][: 1 << 20]
        )

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
    def test_any_kind_of_buffer_can_be_saved(
        self, backend: Backend, wrap: Callable[[bytes], bytes | bytearray | memoryview]
    ) -> None:
        backend.save(named(CONTENT), wrap(CONTENT))
        assert backend.load(named(CONTENT)) == CONTENT

    def test_a_view_into_the_middle_of_a_buffer_saves_just_that(self, backend: Backend) -> None:
        part = memoryview(bytearray(CONTENT))[3:100]
        backend.save(named(bytes(part)), part)
        assert backend.load(named(bytes(part))) == CONTENT[3:100]

    def test_a_buffer_that_changes_after_the_save_changes_nothing(self, backend: Backend) -> None:
        buffer = bytearray(CONTENT)
        backend.save(named(CONTENT), memoryview(buffer))
        buffer[:] = bytes(len(buffer))
        assert backend.load(named(CONTENT)) == CONTENT

    def test_saving_again_replaces_the_file(self, backend: Backend) -> None:
        backend.save(CONFIG, b"a longer first content")
        backend.save(CONFIG, b"second")
        assert backend.load(CONFIG) == b"second"
        assert listed(backend, FileType.CONFIG) == {FileInfo(CONFIG, 6)}

    def test_the_same_name_in_two_types_is_two_files(self, backend: Backend, saved: Handle) -> None:
        other = Handle(FileType.INDEX, saved.name)
        backend.save(other, b"index")
        backend.remove(saved)
        assert backend.load(other) == b"index"

    # Ranges

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 1), (0, 768), (1, 255), (767, 1), (300, 0), (0, 0), (768, 0), (511, None), (0, None), (768, None)],
    )
    def test_a_range_inside_the_file_is_exact(
        self, backend: Backend, saved: Handle, offset: int, length: int | None
    ) -> None:
        end = len(CONTENT) if length is None else offset + length
        assert backend.load(saved, offset=offset, length=length) == CONTENT[offset:end]

    @pytest.mark.parametrize(("offset", "length"), [(0, 769), (767, 2), (768, 1), (5000, 1), (769, 0), (769, None)])
    def test_a_range_past_the_end_is_an_error(
        self, backend: Backend, saved: Handle, offset: int, length: int | None
    ) -> None:
        with pytest.raises(ShortReadError):
            backend.load(saved, offset=offset, length=length)

    @pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (-1, None)])
    def test_a_negative_range_is_a_mistake_of_the_caller(
        self, backend: Backend, saved: Handle, offset: int, length: int | None
    ) -> None:
        with pytest.raises(ValueError, match="negative"):
            backend.load(saved, offset=offset, length=length)

    # What is missing

    def test_loading_a_missing_file_says_so_with_its_name(self, backend: Backend) -> None:
        with pytest.raises(FileMissingError, match=named(b"x").name):
            backend.load(named(b"x"))

    def test_loading_a_range_of_a_missing_file_says_so(self, backend: Backend) -> None:
        with pytest.raises(FileMissingError):
            backend.load(named(b"x"), offset=1, length=1)

    def test_an_empty_backend_has_no_config(self, backend: Backend) -> None:
        with pytest.raises(FileMissingError):
            backend.stat(CONFIG)
        with pytest.raises(FileMissingError):
            backend.load(CONFIG)

    def test_stat_tells_the_size(self, backend: Backend, saved: Handle) -> None:
        assert backend.stat(saved) == FileInfo(saved, len(CONTENT))

    def test_stat_of_a_missing_file_says_so(self, backend: Backend) -> None:
        with pytest.raises(FileMissingError):
            backend.stat(named(b"x"))

    # Removing

    def test_a_removed_file_is_gone(self, backend: Backend, saved: Handle) -> None:
        backend.remove(saved)
        with pytest.raises(FileMissingError):
            backend.load(saved)
        assert listed(backend, FileType.PACK) == set()

    def test_removing_twice_is_fine(self, backend: Backend, saved: Handle) -> None:
        backend.remove(saved)
        backend.remove(saved)

    @pytest.mark.parametrize("file_type", list(FileType), ids=lambda kind: kind.value)
    def test_removing_what_never_was_is_fine(self, backend: Backend, file_type: FileType) -> None:
        backend.remove(CONFIG if file_type is FileType.CONFIG else named(b"never", file_type))

    def test_a_removed_file_can_be_saved_again(self, backend: Backend, saved: Handle) -> None:
        backend.remove(saved)
        backend.save(saved, CONTENT)
        assert backend.load(saved) == CONTENT

    # Listing

    @pytest.mark.parametrize("file_type", list(FileType), ids=lambda kind: kind.value)
    def test_an_empty_backend_lists_nothing(self, backend: Backend, file_type: FileType) -> None:
        assert listed(backend, file_type) == set()

    @pytest.mark.parametrize("file_type", NAMED_TYPES, ids=lambda kind: kind.value)
    def test_a_listing_has_every_file_of_its_type_with_its_size(self, backend: Backend, file_type: FileType) -> None:
        contents = [noise(size, size) for size in range(40)]
        for content in contents:
            backend.save(named(content, file_type), content)
        backend.save(CONFIG, b"config")
        backend.save(Handle(NAMED_TYPES[NAMED_TYPES.index(file_type) - 1], "0" * 64), b"of another type")
        assert listed(backend, file_type) == {FileInfo(named(one, file_type), len(one)) for one in contents}

    def test_the_config_is_listed_once_it_is_there(self, backend: Backend) -> None:
        backend.save(CONFIG, b"config")
        assert listed(backend, FileType.CONFIG) == {FileInfo(CONFIG, 6)}

    def test_a_listing_goes_on_when_its_files_are_removed_meanwhile(self, backend: Backend) -> None:
        handles = {named(noise(8, seed), FileType.LOCK) for seed in range(20)}
        for handle in handles:
            backend.save(handle, b"lock")
        given = set()
        for info in backend.list_files(FileType.LOCK):
            given.add(info.handle)
            for other in handles - {info.handle}:
                backend.remove(other)
        assert given <= handles
        assert len(listed(backend, FileType.LOCK)) <= 1

    def test_a_listing_left_early_holds_nothing_up(self, backend: Backend, saved: Handle) -> None:
        backend.save(named(b"second"), b"second")
        for _ in range(20):
            next(iter(backend.list_files(FileType.PACK)))
        assert backend.load(saved) == CONTENT

    def test_a_listing_while_files_are_saved_has_all_that_were_there_and_only_whole_ones(
        self, backend: Backend, saved: Handle
    ) -> None:
        contents = [noise(5000, seed) for seed in range(30)]

        def save(content: bytes) -> None:
            backend.save(named(content), content)

        with Workers(save, threads=2) as workers:
            for content in contents:
                workers.put(content)
                found = {info.handle: info.size for info in backend.list_files(FileType.PACK)}
                assert found.pop(saved) == len(CONTENT)
                assert set(found.values()) <= {5000}
        assert len(listed(backend, FileType.PACK)) == 31

    # Many threads

    def test_threads_that_save_the_same_name_leave_one_whole_file(self, backend: Backend) -> None:
        versions = [noise(200_000, seed) for seed in range(8)]
        with Workers[bytes](lambda content: backend.save(CONFIG, content), threads=4) as workers:
            for content in versions * 2:
                workers.put(content)
        assert backend.load(CONFIG) in versions

    def test_a_reader_sees_the_old_or_the_new_file_never_a_mixture(self, backend: Backend) -> None:
        versions = {noise(200_000, seed) for seed in range(4)}
        backend.save(CONFIG, min(versions))
        with Workers[bytes](lambda content: backend.save(CONFIG, content), threads=2) as workers:
            for content in [*versions] * 4:
                workers.put(content)
                assert backend.load(CONFIG) in versions

    def test_threads_can_do_everything_at_once(self, backend: Backend) -> None:
        together = threading.Barrier(4)

        def live(seed: int) -> None:
            together.wait()
            for number in range(10):
                content = noise(1000, seed * 100 + number)
                backend.save(named(content), content)
                assert backend.load(named(content), offset=10, length=20) == content[10:30]
                assert backend.stat(named(content)).size == 1000
                backend.remove(named(content))

        with Workers(live, threads=4) as workers:
            for seed in range(4):
                workers.put(seed)
        assert listed(backend, FileType.PACK) == set()

    # Its life

    def test_creating_again_keeps_what_is_there(self, backend: Backend, saved: Handle) -> None:
        backend.save(CONFIG, b"config")
        backend.create()
        assert backend.load(saved) == CONTENT
        assert backend.load(CONFIG) == b"config"

    def test_sweeping_keeps_every_file(self, backend: Backend, saved: Handle) -> None:
        backend.save(CONFIG, b"config")
        assert backend.sweep(datetime.now(UTC)) == 0
        assert backend.load(saved) == CONTENT
        assert backend.load(CONFIG) == b"config"

    def test_closing_twice_is_fine(self, backend: Backend) -> None:
        backend.close()
        backend.close()

    def test_the_location_and_the_number_of_connections_are_told(self, backend: Backend) -> None:
        assert backend.location
        assert backend.connections >= 1


class DirectoryBackendContract(BackendContract):
    """For media that are trees of names, where others can put files too."""

    @pytest.fixture
    @abstractmethod
    def plant(self) -> Callable[[str, bytes], None]:
        """Puts a file under a path below the repository's root, making directories as needed."""

    @pytest.mark.parametrize(
        "path",
        [
            "keys/README",
            f"keys/{'A' * 64}",
            f"locks/{'a' * 63}",
            f"index/{'a' * 65}",
            f"snapshots/{'a' * 64}-tmp-123",
            f"snapshots/{'a' * 64}/{'b' * 64}",
            f"data/{'a' * 64}",
            f"data/ab/{'c' * 64}",
            f"data/abc/{'a' * 64}",
            "data/aa/.nfs0001",
            "config.bak",
            "lost+found/x",
        ],
    )
    def test_listings_pass_over_what_is_no_file_of_the_repository(
        self, backend: Backend, saved: Handle, plant: Callable[[str, bytes], None], path: str
    ) -> None:
        plant(path, b"junk")
        assert {info for kind in FileType for info in listed(backend, kind)} == {FileInfo(saved, len(CONTENT))}

    def test_a_file_another_program_put_in_its_place_is_found(
        self, backend: Backend, plant: Callable[[str, bytes], None]
    ) -> None:
        handle = named(CONTENT)
        plant(f"data/{handle.name[:2]}/{handle.name}", CONTENT)
        assert listed(backend, FileType.PACK) == {FileInfo(handle, len(CONTENT))}
        assert backend.load(handle) == CONTENT
