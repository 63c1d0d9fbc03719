from __future__ import annotations

import os

import pytest
import zstandard

from icebrick.backend.base import BackendWrapper, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import CorruptDataError
from icebrick.repository import unpacked
from icebrick.repository.crypto import Key, new_key
from icebrick.repository.ids import digest
from icebrick.repository.unpacked import load_unpacked, save_unpacked

KEY = Key(bytes(32), bytes(16), bytes(16))
JSON = b'{"a":"' + b"b" * 1000 + b'"}'


def store(backend: MemoryBackend, plain: bytes) -> Handle:
    sealed = KEY.seal(plain)
    handle = Handle(FileType.INDEX, digest(sealed).hex())
    backend.save(handle, sealed)
    return handle


def frame(plain: bytes, *, size_known: bool) -> bytes:
    if size_known:
        return zstandard.ZstdCompressor().compress(plain)
    writer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return writer.compress(plain) + writer.flush()


def test_what_is_saved_is_loaded_and_was_compressed() -> None:
    backend = MemoryBackend()
    handle = Handle(FileType.SNAPSHOT, save_unpacked(backend, KEY, FileType.SNAPSHOT, JSON))
    assert load_unpacked(backend, KEY, handle) == JSON
    assert backend.stat(handle).size < 200


@pytest.mark.parametrize("size_known", [True, False])
def test_a_frame_is_read_whether_it_tells_its_size_or_not(size_known: bool) -> None:
    backend = MemoryBackend()
    assert load_unpacked(backend, KEY, store(backend, b"\x02" + frame(JSON, size_known=size_known))) == JSON


@pytest.mark.parametrize("plain", [b"{}", b"[]"])
def test_files_of_old_programs_are_read(plain: bytes) -> None:
    backend = MemoryBackend()
    assert load_unpacked(backend, KEY, store(backend, plain)) == plain


@pytest.mark.parametrize("size_known", [True, False])
def test_a_frame_that_unpacks_to_too_much_is_corrupt(size_known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked, "MAX_PLAIN_SIZE", 1000)
    backend = MemoryBackend()
    bomb = store(backend, b"\x02" + frame(b"{" + bytes(100_000), size_known=size_known))
    with pytest.raises(CorruptDataError, match=bomb.name):
        load_unpacked(backend, KEY, bomb)


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\x02",
        b"\x03{}",
        b"\x02{}",
        b"\x02" + frame(JSON, size_known=True)[:-1],
        b"\x02" + frame(b"{}", size_known=True) + b"x",
    ],
)
def test_an_unreadable_file_is_corrupt_and_named(plain: bytes) -> None:
    backend = MemoryBackend()
    handle = store(backend, plain)
    with pytest.raises(CorruptDataError, match=handle.name):
        load_unpacked(backend, KEY, handle)


def test_a_file_of_another_key_is_corrupt() -> None:
    backend = MemoryBackend()
    with pytest.raises(CorruptDataError, match="authentication failed"):
        load_unpacked(backend, new_key(), store(backend, b"{}"))


def test_a_file_whose_content_is_not_its_name_s_is_corrupt() -> None:
    backend = MemoryBackend()
    wrong = Handle(FileType.INDEX, os.urandom(32).hex())
    backend.save(wrong, backend.load(store(backend, b"{}")))
    with pytest.raises(CorruptDataError, match="does not match its name"):
        load_unpacked(backend, KEY, wrong)


def test_a_file_read_wrongly_once_is_read_again() -> None:
    class WrongOnce(BackendWrapper):
        loads = 0

        def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
            self.loads += 1
            data = super().load(handle, offset=offset, length=length)
            return data[:-1] if self.loads == 1 else data

    memory = MemoryBackend()
    handle = store(memory, b"{}")
    backend = WrongOnce(memory)
    assert load_unpacked(backend, KEY, handle) == b"{}"
    assert backend.loads == 2
