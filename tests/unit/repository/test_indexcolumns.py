from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebrick.errors import CorruptDataError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.index.columns import IndexColumns, decode_columns
from icebrick.repository.index.file import decode_index, encode_index
from icebrick.repository.index.index import Index

IDS = st.binary(min_size=ID_SIZE, max_size=ID_SIZE)
UINT32 = st.integers(0, 2**32 - 1)
BLOBS = st.builds(PackedBlob, st.sampled_from(BlobType), IDS, UINT32, st.integers(32, 2**32 - 1), UINT32)
PACKS = st.lists(st.tuples(IDS, st.lists(BLOBS, max_size=4)), min_size=1, max_size=4)

Packs = list[tuple[bytes, list[PackedBlob]]]


def packs_of(columns: IndexColumns) -> Packs:
    packs: Packs = [(pack_id, []) for pack_id in columns.pack_ids]
    rows = zip(columns.packs, columns.trees, columns.offsets, columns.lengths, columns.uncompressed, strict=True)
    for number, (pack, tree, offset, length, uncompressed) in enumerate(rows):
        blob_id = columns.ids[number * ID_SIZE : (number + 1) * ID_SIZE]
        blob_type = BlobType.TREE if tree else BlobType.DATA
        packs[pack][1].append(PackedBlob(blob_type, blob_id, int(offset), int(length), int(uncompressed)))
    return packs


def some(count: int) -> Packs:
    chance = random.Random(count)
    return [
        (
            chance.randbytes(32),
            [
                PackedBlob(chance.choice(list(BlobType)), chance.randbytes(32), i * 900, 900, chance.choice([0, 2000]))
                for i in range(chance.randrange(4))
            ],
        )
        for _ in range(count)
    ]


@given(PACKS)
def test_it_reads_what_is_written(packs: Packs) -> None:
    columns = decode_columns(encode_index(packs))
    assert columns is not None
    assert packs_of(columns) == packs


PLAIN = encode_index(some(4))


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b'{"packs":[]}\n',
        b'{"packs":[',
        b'{"supersedes":[],"packs":[]}',
        PLAIN.replace(b":", b": "),
        PLAIN[:-2],
        PLAIN[:-1] + b"x",
        PLAIN + b" ",
        PLAIN.replace(b"tree", b"what"),
        PLAIN.replace(b'"offset":0', b'"offset":00'),
        PLAIN.replace(b'"offset":0', b'"offset":4294967296'),
        PLAIN.replace(b'"offset":0', b'"offset":99999999999'),
        PLAIN.replace(b'"length":900', b'"length":31'),
        PLAIN.replace(b'"length":900', b'"length":-5'),
    ],
)
def test_what_is_written_otherwise_it_leaves_to_others(plain: bytes) -> None:
    assert decode_columns(plain) is None


def test_whatever_byte_is_changed_it_reads_what_the_careful_reader_reads() -> None:
    chance = random.Random(7)
    understood = 0
    for place in range(len(PLAIN)):
        changed = bytearray(PLAIN)
        changed[place] = chance.choice(b'0159af{}[],:" x')
        columns = decode_columns(bytes(changed))
        if columns is None:
            continue
        understood += 1
        try:
            careful = list(decode_index(bytes(changed)))
        except CorruptDataError:
            pytest.fail(f"byte {place} as {changed[place : place + 1]!r} is no index file")
        assert packs_of(columns) == careful
    assert understood > 100


@pytest.mark.parametrize("count", [3, 3000])
def test_an_index_from_columns_finds_what_one_from_packs_finds(count: int) -> None:
    packs = some(count)
    columns = decode_columns(encode_index(packs))
    assert columns is not None
    fast, careful = Index(), Index()
    for pack in some(5):
        fast.add_pack(*pack)
        careful.add_pack(*pack)
    fast.add_columns(columns)
    for pack in packs:
        careful.add_pack(*pack)
    assert len(fast) == len(careful)
    assert list(fast.packs()) == list(careful.packs())
    for _, blobs in packs:
        for blob in blobs:
            assert fast.find(blob.type, blob.id) == careful.find(blob.type, blob.id)
