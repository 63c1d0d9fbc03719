from __future__ import annotations

import mmap
import random

import pytest

from icebrick.errors import CorruptDataError
from icebrick.repository.blob import BlobDecoder
from icebrick.repository.crypto import OVERHEAD, new_key
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.pack import header_size, verify_pack
from icebrick.repository.packer import FinishedPack, PackBuffers, Packer

DATA = BlobType.DATA
KEY = new_key()
SMALL = 16 << 10


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", SMALL)


@pytest.fixture
def buffers() -> PackBuffers:
    return PackBuffers(2 * SMALL)


@pytest.fixture
def packer(buffers: PackBuffers) -> Packer:
    return Packer(KEY, DATA, buffers)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def add(packer: Packer, *contents: bytes) -> list[FinishedPack]:
    """Put them all in; all packs that came out, the last one included."""
    packs = [packer.add(digest(content), content) for content in contents]
    return [pack for pack in [*packs, packer.finish()] if pack is not None]


def read(pack: FinishedPack) -> list[bytes]:
    """What a reader of the stored pack finds."""
    with pack.view() as view:
        stored = bytes(view)
    assert digest(stored) == pack.id
    assert len(stored) == pack.size
    decoder = BlobDecoder(KEY)
    blobs = verify_pack(KEY, decoder, memoryview(stored))
    assert list(blobs) == list(pack.blobs)
    return [bytes(decoder.decode(blob, memoryview(stored)[blob.offset : blob.end])) for blob in blobs]


def test_nothing_put_in_gives_no_pack(packer: Packer) -> None:
    assert packer.finish() is None


def test_blobs_lie_in_the_order_in_which_they_were_put_in(packer: Packer) -> None:
    contents = [b"", b"x", noise(1000), bytes(1000)]
    (pack,) = add(packer, *contents)
    assert read(pack) == contents
    assert [blob.id for blob in pack.blobs] == [digest(content) for content in contents]


def test_what_can_be_compressed_is_and_the_rest_is_not(packer: Packer) -> None:
    (pack,) = add(packer, bytes(1000), noise(1000), b"")
    zeros, random_bytes, empty = pack.blobs
    assert (zeros.uncompressed_length, zeros.length < 100) == (1000, True)
    assert (random_bytes.uncompressed_length, random_bytes.length) == (0, 1000 + OVERHEAD)
    assert (empty.uncompressed_length, empty.length, empty.size) == (0, OVERHEAD, 0)


def test_a_gain_that_is_too_small_is_not_worth_unpacking(packer: Packer) -> None:
    content = noise(9_900) + bytes(100)
    (pack,) = add(packer, content)
    assert pack.blobs[0].uncompressed_length == 0


@pytest.mark.parametrize("short", [0, 1])
def test_a_pack_is_closed_when_it_reaches_its_size(packer: Packer, short: int) -> None:
    content = noise(SMALL - OVERHEAD - short)
    assert (packer.add(digest(content), content) is None) == bool(short)


def test_a_blob_that_does_not_fit_any_more_goes_into_the_next_pack(packer: Packer) -> None:
    contents = [noise(SMALL - 100), noise(2 * SMALL - 200, 1)]
    first, second = add(packer, *contents)
    assert read(first) + read(second) == contents


@pytest.mark.parametrize("short", [-1, 0, 1, OVERHEAD, header_size(1), header_size(1) + OVERHEAD])
def test_a_blob_as_large_as_a_buffer_is_packed(packer: Packer, short: int) -> None:
    contents = [b"before", noise(2 * SMALL - short), b"behind"]
    assert [content for pack in add(packer, *contents) for content in read(pack)] == contents


@pytest.mark.parametrize("size", [5 * SMALL, 5 * SMALL + 1])
def test_a_blob_larger_than_a_buffer_gets_one_of_its_own(buffers: PackBuffers, packer: Packer, size: int) -> None:
    contents = [b"before", noise(size), noise(size, 1), b"behind"]
    packs = add(packer, *contents)
    assert [content for pack in packs for content in read(pack)] == contents
    for pack in packs:
        buffers.give_back(pack.buffer)
    assert len(buffers.take(1)) == 2 * SMALL


def test_a_pack_is_closed_when_it_has_as_many_blobs_as_it_may(packer: Packer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.repository.packer.MAX_BLOBS", 10)
    contents = [bytes([number]) for number in range(25)]
    packs = add(packer, *contents)
    assert [len(pack.blobs) for pack in packs] == [10, 10, 5]
    assert [content for pack in packs for content in read(pack)] == contents


def test_very_many_small_blobs_leave_room_for_their_header() -> None:
    packer = Packer(KEY, DATA, PackBuffers(SMALL // 2))
    contents = [bytes([number % 256, number // 256]) for number in range(600)]
    assert [content for pack in add(packer, *contents) for content in read(pack)] == contents


def test_equal_blobs_are_sealed_differently(packer: Packer) -> None:
    (pack,) = add(packer, b"same", b"same")
    with pack.view() as view:
        one, other = (bytes(view[blob.offset : blob.end]) for blob in pack.blobs)
    assert one != other


def test_a_blob_that_is_not_what_its_id_says_never_leaves(packer: Packer) -> None:
    packer.add(digest(b"meant"), b"flipped in memory")
    with pytest.raises(CorruptDataError, match=f"blob {digest(b'meant').hex()}"):
        packer.finish()


def test_a_pack_that_failed_its_verification_is_not_tried_again(packer: Packer) -> None:
    packer.add(digest(b"meant"), b"flipped in memory")
    with pytest.raises(CorruptDataError):
        packer.finish()
    assert packer.finish() is None
    (pack,) = add(packer, b"next")
    assert read(pack) == [b"next"]


def test_a_buffer_given_back_is_taken_again(buffers: PackBuffers) -> None:
    first = buffers.take(1)
    buffers.give_back(first)
    assert buffers.take(2 * SMALL) is first


def test_buffers_are_whole_pages_and_large_enough() -> None:
    buffers = PackBuffers(1)
    assert len(buffers.take(1)) == mmap.PAGESIZE
    assert len(buffers.take(mmap.PAGESIZE + 1)) == mmap.PAGESIZE + 1


def test_a_buffer_of_its_own_is_freed_when_it_is_given_back(buffers: PackBuffers) -> None:
    large = buffers.take(10 * SMALL)
    buffers.give_back(large)
    assert large.closed


def test_what_an_earlier_pack_left_in_a_buffer_does_not_get_into_the_next(buffers: PackBuffers) -> None:
    packer = Packer(KEY, DATA, buffers)
    (first,) = add(packer, noise(SMALL - 2000))
    buffers.give_back(first.buffer)
    (second,) = add(packer, b"short")
    assert second.buffer is first.buffer
    assert read(second) == [b"short"]
