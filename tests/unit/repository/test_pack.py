from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from icebrick.errors import CorruptDataError
from icebrick.repository.blob import BlobDecoder, PackedBlob
from icebrick.repository.crypto import OVERHEAD, Key, new_key
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.pack import (
    MAX_ENTRY_SIZE,
    decode_trailer,
    encode_trailer,
    header_size,
    trailer_length,
    verify_pack,
)

DATA, TREE = BlobType.DATA, BlobType.TREE
KEY = new_key()
UINT32 = st.integers(0, 2**32 - 1)
IDS = st.binary(min_size=32, max_size=32)
HEADER = struct.Struct("<BI")
COMPRESSED = struct.Struct("<BII")


def make_pack(*contents: tuple[BlobType, bytes, bool], key: Key = KEY) -> tuple[bytes, list[PackedBlob]]:
    """A pack of these blobs: type, plaintext, whether it is compressed."""
    body, blobs = b"", []
    for blob_type, plain, compressed in contents:
        sealed = key.seal(zstandard.ZstdCompressor().compress(plain) if compressed else plain)
        length = len(plain) if compressed else 0
        blobs.append(PackedBlob(blob_type, digest(plain), len(body), len(sealed), length))
        body += sealed
    return body + encode_trailer(key, blobs), blobs


def with_header(body: bytes, header: bytes) -> bytes:
    sealed = KEY.seal(header)
    return body + sealed + struct.pack("<I", len(sealed))


def verify(pack: bytes, key: Key = KEY) -> list[PackedBlob]:
    return list(verify_pack(key, BlobDecoder(key), memoryview(pack)))


SMALL, SMALL_BLOBS = make_pack(
    (DATA, b"ab", False), (TREE, b"", False), (DATA, bytes(99), True), (TREE, b"[]" * 40, True)
)


@given(st.lists(st.tuples(st.sampled_from(BlobType), st.binary(max_size=300), st.booleans()), min_size=1, max_size=12))
def test_a_pack_lists_and_holds_what_was_put_in(contents: list[tuple[BlobType, bytes, bool]]) -> None:
    contents = [(blob_type, plain, compressed and bool(plain)) for blob_type, plain, compressed in contents]
    pack, blobs = make_pack(*contents)
    decoder = BlobDecoder(KEY)
    assert verify(pack) == blobs
    decoded = [bytes(decoder.decode(blob, memoryview(pack)[blob.offset : blob.end])) for blob in blobs]
    assert decoded == [plain for _, plain, _ in contents]


@given(st.lists(st.tuples(st.sampled_from(BlobType), IDS, UINT32, UINT32), min_size=1, max_size=20))
def test_a_header_keeps_all_that_fits_in_32_bits(entries: list[tuple[BlobType, bytes, int, int]]) -> None:
    blobs, offset = [], 0
    for blob_type, blob_id, length, uncompressed in entries:
        blobs.append(PackedBlob(blob_type, blob_id, offset, length, uncompressed))
        offset += length
    trailer = encode_trailer(KEY, blobs)
    assert decode_trailer(KEY, trailer) == blobs
    assert len(trailer) <= header_size(len(blobs))


def test_a_header_of_compressed_blobs_takes_just_the_room_foreseen() -> None:
    blobs = [PackedBlob(DATA, bytes(32), 0, 1, 1)] * 1000
    assert len(encode_trailer(KEY, blobs)) == header_size(1000) == 1000 * MAX_ENTRY_SIZE + OVERHEAD + 4


def test_the_header_is_laid_out_as_restic_documents_it() -> None:
    blobs = [PackedBlob(TREE, bytes(range(32)), 0, 0x01020304, 0), PackedBlob(DATA, b"\xff" * 32, 0x01020304, 5, 6)]
    trailer = encode_trailer(KEY, blobs)
    assert KEY.open(trailer[:-4]) == (
        b"\x01\x04\x03\x02\x01" + bytes(range(32)) + b"\x02\x05\x00\x00\x00\x06\x00\x00\x00" + b"\xff" * 32
    )
    assert struct.unpack("<I", trailer[-4:]) == (len(trailer) - 4,)


@pytest.mark.parametrize("byte", range(len(SMALL)))
def test_no_flipped_bit_of_a_pack_goes_unnoticed(byte: int) -> None:
    for bit in range(8):
        damaged = bytearray(SMALL)
        damaged[byte] ^= 1 << bit
        with pytest.raises(CorruptDataError):
            verify(bytes(damaged))


def test_no_truncation_of_a_pack_goes_unnoticed() -> None:
    for length in range(len(SMALL)):
        with pytest.raises(CorruptDataError):
            verify(SMALL[:length])


def test_nothing_can_be_cut_from_the_front_of_a_pack() -> None:
    for start in range(1, len(SMALL)):
        with pytest.raises(CorruptDataError):
            verify(SMALL[start:])


def test_a_pack_of_another_key_is_refused() -> None:
    with pytest.raises(CorruptDataError):
        verify(SMALL, new_key())


def test_room_between_the_blobs_and_the_header_is_refused() -> None:
    body = SMALL[: SMALL_BLOBS[-1].end]
    with pytest.raises(CorruptDataError, match="do not fill it"):
        verify(body + b"?" + SMALL[len(body) :])


def test_exchanged_blobs_of_one_length_are_noticed() -> None:
    pack, (first, second) = make_pack((DATA, b"one", False), (DATA, b"two", False))
    swapped = pack[second.offset : second.end] + pack[first.offset : first.end] + pack[second.end :]
    with pytest.raises(CorruptDataError, match=f"blob {first.id.hex()}: the content does not match its id"):
        verify(swapped)


def hostile(change: Callable[[bytes], bytes]) -> bytes:
    """A pack with one blob whose header was changed before it was sealed."""
    sealed = KEY.seal(b"plain")
    return with_header(sealed, change(HEADER.pack(0, len(sealed)) + digest(b"plain")))


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (hostile(lambda header: b"\x04" + header[1:]), "unknown blob type 4"),
        (hostile(lambda header: b"\xff" + header[1:]), "unknown blob type 255"),
        (hostile(lambda header: header[:-1]), "a header of"),
        (hostile(lambda header: header + b"\0"), "in the middle of an entry"),
        (hostile(lambda header: header + header[:20]), "in the middle of an entry"),
        (hostile(lambda header: header + header), "do not fill it"),
        (hostile(lambda header: HEADER.pack(0, 2**32 - 1) + header[5:]), "do not fill it"),
        (hostile(lambda header: HEADER.pack(0, 0) + header[5:]), "do not fill it"),
        (hostile(lambda header: HEADER.pack(0, 37) + bytes(32)), "does not match its id"),
        (hostile(lambda header: COMPRESSED.pack(2, 37, 9) + header[5:]), "decompression failed"),
        pytest.param(hostile(lambda header: b""), "a header of 32 bytes cannot be", id="an empty header"),
        (b"", "too short"),
        (b"\0\0\0", "too short"),
        (b"\xff\xff\xff\xff", "a header of 4294967295 bytes cannot be in a pack of 4 bytes"),
        (b"\0\0\0\0", "a header of 0 bytes cannot be"),
    ],
)
def test_a_hostile_header_is_refused(pack: bytes, message: str) -> None:
    with pytest.raises(CorruptDataError, match=message):
        verify(pack)


def test_a_blob_shorter_than_its_seal_is_refused() -> None:
    pack = with_header(b"x" * 31, HEADER.pack(0, 31) + bytes(32))
    with pytest.raises(CorruptDataError, match=f"blob {'00' * 32}: sealed data of 31 bytes is too short"):
        verify(pack)


def sealed_frame(frame: bytes, plain: bytes, claimed: int) -> tuple[PackedBlob, memoryview]:
    sealed = KEY.seal(frame)
    return PackedBlob(DATA, digest(plain), 0, len(sealed), claimed), memoryview(sealed)


def without_size(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(plain)


def test_a_frame_that_does_not_tell_its_size_is_read() -> None:
    plain = bytes(range(256)) * 10
    assert BlobDecoder(KEY).decode(*sealed_frame(without_size(plain), plain, len(plain))) == plain


@pytest.mark.parametrize("compress", [zstandard.compress, without_size], ids=["with size", "without size"])
@pytest.mark.parametrize("claimed", [1, 2559, 2561])
def test_a_blob_of_another_length_than_it_is_listed_with_is_refused(
    compress: Callable[[bytes], bytes], claimed: int
) -> None:
    plain = bytes(range(256)) * 10
    blob, sealed = sealed_frame(compress(plain), plain, claimed)
    with pytest.raises(CorruptDataError, match=f"blob {blob.id.hex()}"):
        BlobDecoder(KEY).decode(blob, sealed)


def test_a_frame_that_claims_to_be_huge_is_not_unpacked() -> None:
    eight_bytes_of_size, last_empty_block = b"\xe0", b"\x01\0\0"
    frame = b"\x28\xb5\x2f\xfd" + eight_bytes_of_size + struct.pack("<Q", 1 << 50) + last_empty_block
    blob, sealed = sealed_frame(frame, b"x", 1)
    with pytest.raises(CorruptDataError, match=f"blob {blob.id.hex()}: unpacks to more than the 1 bytes"):
        BlobDecoder(KEY).decode(blob, sealed)


def test_a_decoder_can_go_on_after_damage() -> None:
    decoder = BlobDecoder(KEY)
    blob, sealed = sealed_frame(b"no frame", b"plain", 5)
    with pytest.raises(CorruptDataError):
        decoder.decode(blob, sealed)
    whole = KEY.seal(b"whole")
    assert decoder.decode(PackedBlob(DATA, digest(b"whole"), 0, len(whole), 0), memoryview(whole)) == b"whole"


def test_a_trailer_length_counts_its_own_four_bytes() -> None:
    trailer = len(SMALL) - SMALL_BLOBS[-1].end
    assert trailer_length(SMALL[-4:], len(SMALL)) == trailer
