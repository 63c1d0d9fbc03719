"""Files that stand alone, not in packs: snapshots, index files, locks; and the check that any file is whole.

Every file but the config is named by the SHA-256 of its bytes. In version 2 the plaintext is the byte 2, then a zstd
frame; what older programs left begins with the brace or bracket of its JSON.
"""

from __future__ import annotations

import logging

import zstandard

from icebrick.backend.base import Backend, FileType, Handle, ReadBackend
from icebrick.errors import CorruptDataError
from icebrick.repository.crypto import Key
from icebrick.repository.ids import digest

log = logging.getLogger(__name__)

COMPRESSED = b"\x02"
MAX_PLAIN_SIZE = 256 << 20
"""No index or snapshot comes near this many bytes; what claims more is not unpacked."""


def load_verified(backend: ReadBackend, handle: Handle) -> bytes:
    """The file as stored; CorruptDataError when its bytes do not give its name, even when read once more."""
    data = backend.load(handle)
    if digest(data).hex() == handle.name:
        return data
    log.warning("file=%s wrong hash, reading it again", handle)
    data = backend.load(handle)
    if digest(data).hex() != handle.name:
        raise CorruptDataError(f"{handle} is damaged: its content does not match its name")
    return data


def load_unpacked(backend: ReadBackend, key: Key, handle: Handle) -> bytes:
    """The JSON of a snapshot, index or lock file; CorruptDataError names the file."""
    sealed = load_verified(backend, handle)
    try:
        return _decompress(key.open(sealed))
    except CorruptDataError as error:
        raise CorruptDataError(f"{handle} is damaged: {error}") from error


def save_unpacked(backend: Backend, key: Key, file_type: FileType, plain: bytes) -> str:
    """Store JSON compressed and sealed; returns the file's name."""
    data = key.seal(COMPRESSED + zstandard.ZstdCompressor().compress(plain))
    name = digest(data).hex()
    backend.save(Handle(file_type, name), data)
    return name


def _decompress(plain: bytes) -> bytes:
    if plain[:1] in {b"{", b"["}:
        return plain
    if plain[:1] != COMPRESSED:
        raise CorruptDataError(f"unknown encoding {plain[:1].hex() or 'of an empty file'}")
    frame = memoryview(plain)[1:]
    try:
        # Go's encoder may leave out the size (-1 here); the limit below then applies while unpacking
        if zstandard.frame_content_size(frame) > MAX_PLAIN_SIZE:
            raise CorruptDataError(f"unpacks to more than {MAX_PLAIN_SIZE} bytes")
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=MAX_PLAIN_SIZE, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptDataError(f"compressed data cannot be read: {error}") from error
