from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from icebrick.errors import CorruptDataError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.crypto import OVERHEAD
from icebrick.repository.ids import BlobType
from icebrick.repository.index.index import Index

DATA, TREE = BlobType.DATA, BlobType.TREE
LAST = 2**32 - 1
MANY = 250_000


def number_id(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def blob(blob_id: bytes, offset: int = 0, blob_type: BlobType = DATA, uncompressed: int = 0) -> PackedBlob:
    return PackedBlob(blob_type, blob_id, offset, 100, uncompressed)


def shared_heads(count: int) -> list[bytes]:
    """Ids that are equal in their first 8 bytes."""
    return [b"\x7f" * 8 + number_id(number)[8:] for number in range(count)]


@pytest.fixture
def index() -> Index:
    return Index()


def test_an_empty_index_finds_nothing(index: Index) -> None:
    assert index.find(DATA, bytes(32)) is None
    assert len(index) == 0


def test_an_empty_question_has_an_empty_answer(index: Index) -> None:
    assert index.places(b"").sizes.tolist() == []


def test_an_empty_index_says_what_it_lacks(index: Index) -> None:
    with pytest.raises(CorruptDataError, match=f"2 blobs are in no index, the first is {'00' * 32}"):
        index.places(bytes(64))


def test_a_blob_is_found_with_its_pack_and_place(index: Index) -> None:
    wanted = PackedBlob(DATA, number_id(1), LAST, LAST, LAST)
    index.add_pack(b"p" * 32, [wanted])
    assert index.find(DATA, wanted.id) == (b"p" * 32, wanted)


def test_data_and_trees_with_one_id_are_told_apart(index: Index) -> None:
    data, tree = blob(bytes(32), 1), blob(bytes(32), 2, TREE)
    index.add_pack(b"d" * 32, [data])
    index.add_pack(b"t" * 32, [tree])
    assert index.find(DATA, bytes(32)) == (b"d" * 32, data)
    assert index.find(TREE, bytes(32)) == (b"t" * 32, tree)


def test_places_are_of_data_only(index: Index) -> None:
    index.add_pack(b"t" * 32, [blob(bytes(32), 2, TREE)])
    with pytest.raises(CorruptDataError, match="1 blobs"):
        index.places(bytes(32))


@pytest.mark.parametrize("missing", [bytes(32), b"\xff" * 32, b"\x7f" * 32, b"\x7f" * 8 + bytes(24)])
def test_the_first_missing_blob_is_named(index: Index, missing: bytes) -> None:
    ids = shared_heads(40)
    index.add_pack(b"p" * 32, [blob(blob_id) for blob_id in ids])
    with pytest.raises(CorruptDataError, match=f"2 blobs are in no index, the first is {missing.hex()}"):
        index.places(b"".join([*ids, missing, ids[0], missing]))


def test_blobs_whose_ids_begin_alike_are_told_apart(index: Index) -> None:
    ids = shared_heads(300)
    for number, blob_id in enumerate(ids):
        index.add_pack(bytes(31) + bytes([number % 256]), [blob(blob_id, number)])
    assert index.places(b"".join(ids)).offsets.tolist() == list(range(300))
    assert index.find(DATA, b"\x7f" * 8 + bytes(24)) is None
    for number, blob_id in enumerate(ids):
        found = index.find(DATA, blob_id)
        assert found is not None
        assert found[1].offset == number


def test_places_keep_the_order_and_the_repetitions_of_the_question(index: Index) -> None:
    index.add_pack(b"p" * 32, [blob(number_id(number), number) for number in range(5)])
    asked = [3, 3, 0, 4, 3]
    assert index.places(b"".join(map(number_id, asked))).offsets.tolist() == asked


def test_sizes_are_of_the_plaintext(index: Index) -> None:
    index.add_pack(b"p" * 32, [blob(number_id(0)), blob(number_id(1), uncompressed=LAST)])
    sizes = index.places(number_id(0) + number_id(1)).sizes
    assert sizes.tolist() == [100 - OVERHEAD, LAST]
    assert sizes.dtype == np.int64


def test_a_place_becomes_a_value(index: Index) -> None:
    wanted = blob(number_id(1), 7, uncompressed=200)
    index.add_pack(b"p" * 32, [blob(number_id(0)), wanted])
    assert index.places(number_id(0) + wanted.id).blob(1, wanted.id) == wanted


def test_a_blob_in_several_packs_is_found_in_one_of_them(index: Index) -> None:
    for pack in (b"1" * 32, b"2" * 32):
        index.add_pack(pack, [blob(bytes(32), pack[0])])
        index.places(bytes(32))
    found = index.find(DATA, bytes(32))
    assert found is not None
    assert found[1].offset == found[0][0]


def test_packs_are_numbered_as_they_were_added(index: Index) -> None:
    packs = [bytes([number]) * 32 for number in range(10)]
    for number, pack in enumerate(packs):
        index.add_pack(pack, [blob(number_id(number))])
    places = index.places(b"".join(map(number_id, range(10))))
    assert [index.pack_id(int(number)) for number in places.packs] == packs
    assert list(index.packs()) == packs


@pytest.fixture(scope="module")
def large() -> Iterator[tuple[Index, int, int]]:
    """Many blobs in packs of 16; with the bytes it took to hold them, and the most it took at a time."""
    tracemalloc.start()
    index = Index()
    for first in range(0, MANY, 16):
        index.add_pack(number_id(first), [blob(number_id(first + i), i * 100) for i in range(16)])
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield index, held, peak


def test_a_blob_in_the_index_takes_at_most_64_bytes_of_memory(large: tuple[Index, int, int]) -> None:
    _, held, _ = large
    packs = MANY // 16 * (32 + 33 + 8)  # their ids, as bytes objects in a list
    pending = MANY % (1 << 15) * 400  # what waits to become a run lies in a dictionary
    assert (held - packs - pending) / MANY <= 64


def test_building_an_index_takes_at_most_three_times_its_size(large: tuple[Index, int, int]) -> None:
    _, held, peak = large
    assert peak <= 3 * held


def test_places_of_many_agree_with_finding_each(large: tuple[Index, int, int]) -> None:
    index, _, _ = large
    asked = list(range(0, MANY, 997))
    places = index.places(b"".join(map(number_id, asked)))
    for position, number in enumerate(asked):
        found = index.find(DATA, number_id(number))
        assert found == (number_id(number - number % 16), places.blob(position, number_id(number)))
        assert index.pack_id(int(places.packs[position])) == found[0]


def test_a_large_index_lacks_what_was_never_added(large: tuple[Index, int, int]) -> None:
    index, _, _ = large
    assert len(index) == MANY
    assert not any(index.find(DATA, number_id(number)) for number in range(MANY, MANY + 100))
