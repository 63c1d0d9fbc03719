"""What lets every test have its repositories checked must itself find damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from icebrick.backend.base import Backend, FileType
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.secret import Secret
from icebrick.testing.repositories import make_repository
from icebrick.testing.wholeness import problems_in_memory, problems_on_disk

damages = pytest.mark.damages_repository("it must be found")


def spoil_a_pack(backend: Backend) -> None:
    """Past its first blob's beginning, so that only who reads the data sees it."""
    handle = next(info.handle for info in backend.list_files(FileType.PACK))
    pack = bytearray(backend.load(handle))
    pack[100] ^= 1
    backend.remove(handle)
    backend.save(handle, pack)


def test_nothing_is_wrong_with_whole_repositories(restic: str, tmp_path: Path) -> None:
    backend = MemoryBackend()
    make_repository(backend, Secret("geheim"))
    make_repository(LocalBackend(tmp_path / "a" / "b"), Secret("correct horse"))
    assert list(problems_in_memory(restic, backend)) == []
    assert list(problems_on_disk(restic, tmp_path)) == []


@damages
def test_damaged_data_is_found_in_memory(restic: str) -> None:
    backend = MemoryBackend()
    make_repository(backend, Secret("geheim"))
    spoil_a_pack(backend)
    (problem,) = problems_in_memory(restic, backend)
    assert "Fatal: repository contains errors" in problem


@damages
def test_damaged_data_is_found_wherever_it_lies_below_the_folder(restic: str, tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "deep" / "down")
    make_repository(backend, Secret("geheim"))
    make_repository(LocalBackend(tmp_path / "whole"), Secret("geheim"))
    spoil_a_pack(backend)
    (problem,) = problems_on_disk(restic, tmp_path)
    assert f"restic check of {tmp_path / 'deep' / 'down'}" in problem


@damages
def test_a_repository_whose_password_is_not_known_is_not_passed_over(restic: str, tmp_path: Path) -> None:
    make_repository(LocalBackend(tmp_path / "repository"), Secret("nobody knows"))
    (problem,) = problems_on_disk(restic, tmp_path)
    assert "none of the passwords of the tests opens" in problem


def test_a_backend_that_holds_no_repository_is_none(restic: str) -> None:
    assert list(problems_in_memory(restic, MemoryBackend())) == []


@damages
def test_a_test_that_leaves_damage_fails_unless_it_is_marked(
    restic: str, pytester: pytest.Pytester, pytestconfig: pytest.Config
) -> None:
    pytester.makeconftest(Path(pytestconfig.rootpath, "tests", "conftest.py").read_text())
    pytester.makepyfile(
        """
        import pytest
        from icebrick.backend.base import FileType, Handle
        from icebrick.backend.local import LocalBackend
        from icebrick.repository.crypto import new_key
        from icebrick.secret import Secret
        from icebrick.testing.repositories import empty_repository, make_repository

        def damaged():
            backend = empty_repository(new_key())
            backend.save(Handle(FileType.INDEX, "a" * 64), b"noise")
            return backend

        def test_in_memory():
            damaged()

        def test_on_disk(tmp_path):
            make_repository(LocalBackend(tmp_path / "repository"), Secret("nobody knows"))

        @pytest.mark.damages_repository("to see")
        def test_marked():
            damaged()
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=3, errors=2)
