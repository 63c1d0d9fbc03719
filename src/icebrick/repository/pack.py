"""A pack: sealed blobs one after the other, then a sealed header that lists them, then the header's length.

The header holds for each blob: type (1 byte: 0 data, 1 tree, 2 data compressed, 3 tree compressed), length (uint32,
little endian), for compressed ones the uncompressed length (uint32), id (32 bytes). Source: restic's design
document, "Pack Format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from icebrick.blockdev import Data
from icebrick.errors import CorruptDataError
from icebrick.repository.blob import BlobDecoder, PackedBlob
from icebrick.repository.crypto import OVERHEAD, Key
from icebrick.repository.ids import ID_SIZE, BlobType

_PLAIN = struct.Struct("<BI")
_COMPRESSED = struct.Struct("<BII")
_LENGTH = struct.Struct("<I")
_TYPES = (BlobType.DATA, BlobType.TREE)
PLAIN_ENTRY_SIZE = _PLAIN.size + ID_SIZE
MAX_ENTRY_SIZE = COMPRESSED_ENTRY_SIZE = _COMPRESSED.size + ID_SIZE


def header_size(entries: int) -> int:
    """The most room that header and length of a pack with this many blobs can take, in bytes."""
    return entries * MAX_ENTRY_SIZE + OVERHEAD + _LENGTH.size


def pack_size(blobs: Iterable[PackedBlob]) -> int:
    """How long a pack is that holds these blobs and nothing else, in bytes."""
    forms = ((blob.length, _COMPRESSED if blob.uncompressed_length else _PLAIN) for blob in blobs)
    return sum(length + form.size + ID_SIZE for length, form in forms) + OVERHEAD + _LENGTH.size


def encode_trailer(key: Key, blobs: Iterable[PackedBlob]) -> bytes:
    """The sealed header and its length, to be put behind the blobs."""
    sealed = key.seal(b"".join(map(_encode_entry, blobs)))
    return sealed + _LENGTH.pack(len(sealed))


def _encode_entry(blob: PackedBlob) -> bytes:
    code = _TYPES.index(blob.type)
    if blob.uncompressed_length:
        return _COMPRESSED.pack(code + 2, blob.length, blob.uncompressed_length) + blob.id
    return _PLAIN.pack(code, blob.length) + blob.id


def trailer_length(last: Data, pack_size: int) -> int:
    """How many bytes of the pack's end are trailer, told by its last four; CorruptDataError when that cannot be."""
    if len(last) < _LENGTH.size:
        raise CorruptDataError(f"a pack of {pack_size} bytes is too short")
    (length,) = _LENGTH.unpack(last[-_LENGTH.size :])
    if length < OVERHEAD + _PLAIN.size + ID_SIZE or length + _LENGTH.size > pack_size:
        raise CorruptDataError(f"a header of {length} bytes cannot be in a pack of {pack_size} bytes")
    return int(length) + _LENGTH.size


def decode_trailer(key: Key, trailer: Data) -> list[PackedBlob]:
    """The blobs that the trailer lists, in the order in which they lie; CorruptDataError."""
    header = memoryview(key.open(memoryview(trailer)[: -_LENGTH.size]))
    blobs: list[PackedBlob] = []
    offset = position = 0
    while position < len(header):
        blob, position = _decode_entry(header, position, offset)
        blobs.append(blob)
        offset = blob.end
    return blobs


def _decode_entry(header: memoryview, position: int, offset: int) -> tuple[PackedBlob, int]:
    code, uncompressed = header[position], 0
    if code > 3:
        raise CorruptDataError(f"unknown blob type {code} in a pack's header")
    form = _COMPRESSED if code >= 2 else _PLAIN
    end = position + form.size + ID_SIZE
    if end > len(header):
        raise CorruptDataError("a pack's header ends in the middle of an entry")
    if code >= 2:
        _, length, uncompressed = _COMPRESSED.unpack_from(header, position)
    else:
        _, length = _PLAIN.unpack_from(header, position)
    return PackedBlob(_TYPES[code & 1], bytes(header[end - ID_SIZE : end]), offset, length, uncompressed), end


def verify_pack(key: Key, decoder: BlobDecoder, pack: memoryview) -> Sequence[PackedBlob]:
    """Read a whole pack as a reader would: header, then each blob decrypted, decompressed and hashed.

    Returns what the header lists; CorruptDataError names the first thing that is wrong.
    """
    trailer = trailer_length(pack[-_LENGTH.size :], len(pack))
    blobs = decode_trailer(key, pack[-trailer:])
    if (blobs[-1].end if blobs else 0) != len(pack) - trailer:
        raise CorruptDataError("the blobs of a pack do not fill it up to its header")
    for blob in blobs:
        decoder.decode(blob, pack[blob.offset : blob.end])
    return blobs
