"""A real server of restic's protocol that only adds: what is there stays, and saving it again is no failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.backend.media import open_backend
from icebrick.errors import AccessDeniedError
from icebrick.testing.servers.rclone import serving_rest

pytestmark = pytest.mark.damages_repository("to a backend, files are mere bytes")

PACK = Handle(FileType.PACK, "ab" + "0" * 62)
LOCK = Handle(FileType.LOCK, "cd" + "0" * 62)


@pytest.fixture
def backend(rclone_installed: None, tmp_path: Path) -> Iterator[Backend]:
    with serving_rest(tmp_path / "server", append_only=True) as server:
        place = server.place("repository")
        with closing(open_backend(place.location, place.options)) as backend:
            backend.create()
            backend.save(PACK, b"pack")
            yield backend


def test_an_attempt_whose_answer_was_lost_can_be_made_again(backend: Backend) -> None:
    backend.save(PACK, memoryview(b"pack"))


@pytest.mark.parametrize("content", [b"peck", b"packs", b""])
def test_nothing_is_replaced_and_that_is_told(backend: Backend, content: bytes) -> None:
    with pytest.raises(AccessDeniedError):
        backend.save(PACK, content)
    assert backend.load(PACK) == b"pack"


def test_nothing_is_removed_but_locks(backend: Backend) -> None:
    backend.save(LOCK, b"lock")
    backend.remove(LOCK)
    with pytest.raises(AccessDeniedError):
        backend.remove(PACK)
    assert list(backend.list_files(FileType.LOCK)) == []
    assert backend.load(PACK) == b"pack"
