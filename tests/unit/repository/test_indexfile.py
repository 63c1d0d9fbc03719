from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebrick.backend.base import FileType, Handle
from icebrick.backend.local import LocalBackend
from icebrick.errors import CorruptDataError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.ids import BlobType
from icebrick.repository.index.file import decode_index, encode_index
from icebrick.repository.pack import decode_trailer, trailer_length
from icebrick.repository.repository import open_repository
from icebrick.repository.unpacked import load_unpacked
from icebrick.secret import Secret
from icebrick.testing.restic import Restic

PACK, BLOB = "ab" * 32, "cd" * 32
IDS = st.binary(min_size=32, max_size=32)
BLOBS = st.builds(
    PackedBlob, st.sampled_from(BlobType), IDS, st.integers(0, 2**32 - 1), st.integers(32, 2**32 - 1), st.integers(0, 9)
)


@given(st.lists(st.tuples(IDS, st.lists(BLOBS, max_size=5)), max_size=5))
def test_an_index_file_tells_what_was_written(packs: list[tuple[bytes, list[PackedBlob]]]) -> None:
    assert list(decode_index(encode_index(packs))) == packs


def test_an_index_file_is_written_as_restic_writes_it() -> None:
    blobs = [
        PackedBlob(BlobType.DATA, b"\xcd" * 32, 0, 40, 0),
        PackedBlob(BlobType.TREE, b"\xef" * 32, 40, 50, 60),
    ]
    assert (
        encode_index([(b"\xab" * 32, blobs)])
        == (
            f'{{"packs":[{{"id":"{PACK}","blobs":['
            f'{{"id":"{BLOB}","type":"data","offset":0,"length":40}},'
            f'{{"id":"{"ef" * 32}","type":"tree","offset":40,"length":50,"uncompressed_length":60}}'
            "]}]}\n"
        ).encode()
    )


def index(**changes: Any) -> bytes:
    """An index file with one pack that has one blob, whose fields are changed."""
    blob = {"id": BLOB, "type": "data", "offset": 0, "length": 40, "uncompressed_length": 9} | changes
    return json.dumps({"packs": [{"id": PACK, "blobs": [blob]}]}).encode()


def test_unknown_fields_and_superseded_files_are_passed_over() -> None:
    plain = json.dumps({"supersedes": [PACK], "new": 1, "packs": [{"id": PACK, "blobs": None, "new": 2}]}).encode()
    assert list(decode_index(plain)) == [(bytes.fromhex(PACK), [])]


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"7",
        b'"packs"',
        b'{"packs":7}',
        b'{"packs":[7]}',
        b'{"packs":["id"]}',
        b'{"packs":[{}]}',
        b'{"packs":[{"id":"00","blobs":[]}]}',
        f'{{"packs":[{{"id":"{PACK}"}}]}}'.encode(),
        f'{{"packs":[{{"id":"{PACK}","blobs":[7]}}]}}'.encode(),
        f'{{"packs":[{{"id":"{PACK}","blobs":7}}]}}'.encode(),
        b"[" * 100_000,
        b'{"packs":' + b"[" * 100_000,
        b'{"packs":[{"id":' + b"9" * 5000 + b"}]}",
        index(id="zz" * 32),
        index(id=BLOB[:-2]),
        index(id=BLOB + "ab"),
        index(id=" " * 64),
        index(id="ab " * 21 + "a"),
        index(id=7),
        index(id=None),
        index(type="file"),
        index(type=None),
        index(type=["data"]),
        index(offset=-1),
        index(offset=2**32),
        index(offset=1.5),
        index(offset="0"),
        index(offset=None),
        index(offset=True),
        index(length=2**32),
        index(length=31),
        index(length=0),
        index(length=-40),
        index(uncompressed_length=-1),
        index(uncompressed_length=2**32),
        index(uncompressed_length=None),
    ],
    ids=lambda plain: repr(plain[:160])[-80:],
)
def test_what_is_no_index_file_is_corrupt(plain: bytes) -> None:
    with pytest.raises(CorruptDataError, match="not an index file"):
        list(decode_index(plain))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["packs", "blobs", "id"]), x),
    )
)
def test_no_json_makes_reading_fail_otherwise(value: object) -> None:
    with contextlib.suppress(CorruptDataError):
        list(decode_index(json.dumps(value).encode()))


@pytest.fixture
def stock(restic: str, tmp_path: Path) -> Restic:
    """A repository made by restic, with compressed and plain blobs of both types."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "text").write_bytes(b"restic " * 5000)
    (tmp_path / "files" / "noise").write_bytes(bytes(i * i * 7919 >> 3 & 255 for i in range(3000)))
    program = Restic(restic, tmp_path / "repository", "geheim")
    program.run("init")
    program.run("backup", str(tmp_path / "files"))
    return program


def test_an_index_file_of_restic_agrees_with_the_headers_of_its_packs(stock: Restic) -> None:
    backend = LocalBackend(stock.repository)
    key = open_repository(backend, Secret(stock.password)).key
    found = 0
    for info in backend.list_files(FileType.INDEX):
        plain = load_unpacked(backend, key, info.handle)
        for pack_id, blobs in decode_index(plain):
            pack = backend.load(Handle(FileType.PACK, pack_id.hex()))
            trailer = trailer_length(pack[-4:], len(pack))
            assert sorted(blobs, key=lambda blob: blob.offset) == decode_trailer(key, pack[-trailer:])
            found += len(blobs)
    assert found >= 4
    backend.close()


def test_an_index_file_of_restic_is_written_again_byte_for_byte(stock: Restic) -> None:
    backend = LocalBackend(stock.repository)
    key = open_repository(backend, Secret(stock.password)).key
    (info,) = backend.list_files(FileType.INDEX)
    plain = load_unpacked(backend, key, info.handle)
    assert encode_index(decode_index(plain)) == plain
    backend.close()
