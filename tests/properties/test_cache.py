"""Whatever two hosts do with one medium, a cache gives what the medium has, or had at the last listing; or an error."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.kept import open_kept
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.wrap.cache import CacheBackend
from icebrick.errors import FileMissingError, ShortReadError
from icebrick.repository.ids import digest

CONTENTS = [bytes([number]) * size for number, size in enumerate((0, 60, 90, 80, 70))]
KINDS = (FileType.INDEX, FileType.PACK)
HANDLES = [Handle(kind, digest(content).hex(), kind is FileType.PACK) for kind in KINDS for content in CONTENTS]
WHAT = {handle: CONTENTS[number % len(CONTENTS)] for number, handle in enumerate(HANDLES)}

STEPS = ("save", "remove", "save elsewhere", "remove elsewhere", "damage what is kept", "list", *["load"] * 6)


@pytest.mark.parametrize("limit", [100, 380, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_a_cache_gives_nothing_but_what_the_medium_has_or_had_at_the_last_listing(seed: int, limit: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="icebrick-cache-") as folder:
        medium = MemoryBackend()
        kept = open_kept(Path(folder) / "cache", "s3:here", limit)
        assert kept is not None
        cache = CacheBackend(medium, kept)
        gone: set[Handle] = set()  # removed elsewhere, not listed since
        for _ in range(300):
            handle = chance.choice(HANDLES)
            match chance.choice(STEPS):
                case "save":
                    cache.save(handle, WHAT[handle])
                    gone.discard(handle)
                case "remove":
                    cache.remove(handle)
                    gone.discard(handle)
                case "save elsewhere":
                    medium.save(handle, WHAT[handle])
                    gone.discard(handle)
                case "remove elsewhere":
                    medium.remove(handle)
                    gone.add(handle)
                case "damage what is kept":
                    for path in Path(folder).rglob(handle.name):
                        path.write_bytes(b"damaged")
                    cache = CacheBackend(medium, open_kept(Path(folder) / "cache", "s3:here", limit) or kept)
                case "list":
                    found = {info.handle for info in cache.list_files(handle.type)}
                    assert found == {info.handle for info in medium.list_files(handle.type)}
                    gone = {each for each in gone if each.type is not handle.type}
                case "load":
                    offset, length = chance.choice([(0, None), (chance.randrange(60), chance.randrange(60))])
                    assert loaded(cache, handle, offset, length) in allowed(medium, handle, gone, offset, length)
            assert sum(path.stat().st_size for path in Path(folder).glob("cache/*/*/*")) <= limit


def loaded(backend, handle: Handle, offset: int, length: int | None) -> object:
    try:
        return backend.load(handle, offset=offset, length=length)
    except (FileMissingError, ShortReadError) as error:
        return type(error)


def allowed(medium, handle: Handle, gone: set[Handle], offset: int, length: int | None) -> list[object]:
    answers = [loaded(medium, handle, offset, length)]
    if handle in gone:
        before = MemoryBackend()
        before.save(handle, WHAT[handle])
        answers.append(loaded(before, handle, offset, length))
    return answers
