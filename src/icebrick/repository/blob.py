"""One blob: where it lies, and how its stored form is opened and proven."""

from __future__ import annotations

from typing import NamedTuple

import zstandard

from icebrick.blockdev import Data
from icebrick.errors import CorruptDataError
from icebrick.repository.crypto import OVERHEAD, Key, Sealer
from icebrick.repository.ids import BlobType, digest


class PackedBlob(NamedTuple):
    """A blob's place in a pack. `length` and `offset` are of the sealed form, in bytes.

    A tuple because there are millions, made one by one.
    """

    type: BlobType
    id: bytes
    offset: int
    length: int
    uncompressed_length: int
    """Of the plaintext when it is stored compressed, else 0."""

    @property
    def size(self) -> int:
        """Of the plaintext, in bytes."""
        return self.uncompressed_length or self.length - OVERHEAD

    @property
    def end(self) -> int:
        return self.offset + self.length


class BlobDecoder:
    """Opens sealed blobs. Keeps its buffers, so one belongs to one thread at a time."""

    def __init__(self, key: Key) -> None:
        self._sealer = Sealer(key)
        self._zstd = zstandard.ZstdDecompressor()
        self._scratch = bytearray()

    def decode(self, blob: PackedBlob, sealed: memoryview) -> Data:
        """The plaintext, proven to have the blob's id; valid until the next call.

        CorruptDataError when the data was damaged, exchanged or not sealed with this key.
        """
        try:
            plain = self._open(blob, sealed)
        except CorruptDataError as error:
            raise CorruptDataError(f"blob {blob.id.hex()}: {error}") from error
        if digest(plain) != blob.id:
            raise CorruptDataError(f"blob {blob.id.hex()}: the content does not match its id")
        return plain

    def _open(self, blob: PackedBlob, sealed: memoryview) -> Data:
        size = max(0, len(sealed) - OVERHEAD)
        if len(self._scratch) < size:
            self._scratch = bytearray(size)
        plain = memoryview(self._scratch)[:size]
        self._sealer.open_into(sealed, plain)
        if not blob.uncompressed_length:
            return plain
        try:
            return self._decompress(plain, blob.uncompressed_length)
        except zstandard.ZstdError as error:
            raise CorruptDataError(f"decompression failed: {error}") from error

    def _decompress(self, frame: memoryview, size: int) -> bytes:
        # Go's encoder may leave the size out of the frame (-1 here): then max_output_size bounds it, else nothing does
        if zstandard.frame_content_size(frame) > size:
            raise CorruptDataError(f"unpacks to more than the {size} bytes it is listed with")
        plain = self._zstd.decompress(frame, max_output_size=size)
        if len(plain) != size:
            raise CorruptDataError(f"unpacks to {len(plain)} bytes, not to the {size} it is listed with")
        return plain
