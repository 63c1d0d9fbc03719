"""A short keyed fingerprint of every block, kept beside the image, so that unchanged blocks are recognised fast.

A fingerprint is the AES-128-GMAC of the block under a random key that is kept in the file itself and handed on from
snapshot to snapshot. GMAC is a universal hash: for two different blocks chosen without the key, as both the key and
all fingerprints are only ever stored encrypted, they are equal with a probability below 2^-111 for blocks of 1 MiB
(NIST SP 800-38D; McGrew and Viega 2004). It costs a tenth of SHA-256.

File: magic (16 bytes), key (16), block size (uint32), zero (uint32), volume size (uint64), then 16 bytes for each
block; all numbers little endian. A block of zeros has the fingerprint zero.
"""

from __future__ import annotations

import itertools
import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from icebrick.blockdev import Data
from icebrick.engine.block.blocks import Blocks
from icebrick.engine.block.rows import zero_rows

FINGERPRINT_SIZE = 16
SEGMENT = 64 << 10
"""The file is cut into blobs of this size behind the header: parts that did not change are stored once."""
_MAGIC = b"icebrick-fp-1\n\0\0"
_HEADER = struct.Struct("<16s16sIIQ")
_NONCE = bytes(12)  # one nonce for all: the results are a secret universal hash, never shown as authentication tags


class Fingerprinter:
    """Computes fingerprints under one key; may be used from any thread."""

    def __init__(self, key: bytes) -> None:
        self._gmac = AESGCM(key)

    def __call__(self, block: Data) -> bytes:
        """16 bytes."""
        return self._gmac.encrypt(_NONCE, b"", block)


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """All fingerprints of one image."""

    blocks: Blocks
    key: bytes = field(repr=False)
    values: Data = field(repr=False)
    """16 bytes for each block, in order."""

    def of(self, number: int) -> bytes:
        """The fingerprint of one block."""
        start = number * FINGERPRINT_SIZE
        return bytes(self.values[start : start + FINGERPRINT_SIZE])

    def fingerprinter(self) -> Fingerprinter:
        """Makes comparable fingerprints."""
        return Fingerprinter(self.key)


def new_fingerprint_key() -> bytes:
    """A random key."""
    return secrets.token_bytes(16)


def encode_fingerprints(fingerprints: Fingerprints) -> Iterator[bytes]:
    """The file's blobs in order: the header, then the segments."""
    blocks = fingerprints.blocks
    yield _HEADER.pack(_MAGIC, fingerprints.key, blocks.block_size, 0, blocks.size)
    for start in range(0, len(fingerprints.values), SEGMENT):
        yield bytes(fingerprints.values[start : start + SEGMENT])


def decode_fingerprints(length: int, parts: Iterable[bytes]) -> Fingerprints:
    """From the file's length and its blobs, the first with the header; ValueError for another file or version."""
    rest = iter(parts)
    head = next(rest, b"")
    if len(head) < _HEADER.size:
        raise ValueError("a fingerprint file ends in its header")
    magic, key, block_size, _, size = _HEADER.unpack_from(head)
    if magic != _MAGIC or not block_size:
        raise ValueError("not a fingerprint file of version 1")
    blocks = Blocks(size, block_size)
    if length != _HEADER.size + blocks.count * FINGERPRINT_SIZE:
        raise ValueError(f"{length} bytes of fingerprints for {blocks.count} blocks")
    values, end = zero_rows(blocks.count * FINGERPRINT_SIZE), 0
    for part in itertools.chain([head[_HEADER.size :]], rest):
        start, end = end, end + len(part)
        if part.strip(b"\0"):  # rows of zeros take no memory until they are written
            values[start:end] = part
    return Fingerprints(blocks, key, values)
