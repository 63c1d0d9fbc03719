"""What every backend must do, as a pytest suite to inherit.

    class TestLocal(DirectoryBackendContract):
        @pytest.fixture
        def backend(self, tmp_path): ...

The `backend` fixture gives one on which `create` was called, without any file, and closes it afterwards. What it must
do is in `icebrick.backend.conformance`, which `icebrick check-backend` runs too; here is only what concerns the code.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator

import pytest

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.conformance.base import CONTENT, Check, listed, named, noise, save_content
from icebrick.backend.conformance.suite import CHECKS

__all__ = ["CONTENT", "BackendContract", "DirectoryBackendContract", "named", "noise"]


class BackendContract:
    """One test for each guarantee in `icebrick.backend.base`."""

    @pytest.fixture
    @abstractmethod
    def backend(self) -> Iterator[Backend]:
        """A created, empty backend."""

    @pytest.fixture
    def saved(self, backend: Backend) -> Handle:
        """A pack with CONTENT in it."""
        return save_content(backend)

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
    def test_it_does_what_every_medium_must(self, backend: Backend, check: Check) -> None:
        check.run(backend)

    @pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (-1, None)])
    def test_a_negative_range_is_a_mistake_of_the_caller(
        self, backend: Backend, saved: Handle, offset: int, length: int | None
    ) -> None:
        with pytest.raises(ValueError, match="negative"):
            backend.load(saved, offset=offset, length=length)

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
