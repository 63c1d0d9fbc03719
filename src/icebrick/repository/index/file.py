"""Index files: JSON that tells which pack holds which blobs. Source: restic's design document, "Indexing"."""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterable, Iterator, Sequence

from icebrick.errors import CorruptDataError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.crypto import OVERHEAD
from icebrick.repository.ids import ID_SIZE, BlobType

_TYPES: dict[object, BlobType] = {blob_type.value: blob_type for blob_type in BlobType}


def encode_index(packs: Iterable[tuple[bytes, Sequence[PackedBlob]]]) -> bytes:
    """The plaintext of an index file for these packs."""
    return b'{"packs":[' + b",".join(_encode_pack(pack_id, blobs) for pack_id, blobs in packs) + b"]}\n"


def _encode_pack(pack_id: bytes, blobs: Sequence[PackedBlob]) -> bytes:
    return f'{{"id":"{pack_id.hex()}","blobs":[{",".join(map(_encode_blob, blobs))}]}}'.encode()


def _encode_blob(blob: PackedBlob) -> str:
    fields = f'"id":"{blob.id.hex()}","type":"{blob.type.value}","offset":{blob.offset},"length":{blob.length}'
    if blob.uncompressed_length:
        fields += f',"uncompressed_length":{blob.uncompressed_length}'
    return "{" + fields + "}"


def decode_index(plain: bytes) -> Iterator[tuple[bytes, list[PackedBlob]]]:
    """The packs of an index file with their blobs; CorruptDataError when it is not one."""
    try:
        for pack in json.loads(plain)["packs"]:
            yield _decode_id(pack["id"]), [_decode_blob(blob) for blob in pack["blobs"] or ()]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataError(f"not an index file: {error!r}") from error


def _decode_blob(blob: dict[str, object]) -> PackedBlob:
    return PackedBlob(
        _TYPES[blob["type"]],
        _decode_id(blob["id"]),
        _decode_number(blob["offset"]),
        _decode_number(blob["length"], least=OVERHEAD),
        _decode_number(blob.get("uncompressed_length", 0)),
    )


def _decode_number(number: object, least: int = 0) -> int:
    if type(number) is not int or not least <= number < 1 << 32:
        raise ValueError(f"{number!r} is no length or offset")
    return number


def _decode_id(text: object) -> bytes:
    if not isinstance(text, str) or len(text) != 2 * ID_SIZE:
        raise ValueError(f"{text!r} is no id")
    return binascii.unhexlify(text)  # bytes.fromhex would pass over spaces
