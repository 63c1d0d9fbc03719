"""Encrypted volumes in memory: a header, and behind it bytes that only the right passphrase makes sense of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from icebrick.attach.luks import has_header
from icebrick.blockdev import Data, Extent, check_range
from icebrick.encryption import VolumeKey
from icebrick.errors import AttachError, NotEncryptedError
from icebrick.secret import Secret
from icebrick.testing.bytesdevice import BytesTarget

HEADER = 2 << 20
"""Bytes that the header takes, as of LUKS's first version."""
_MAGIC = b"LUKS\xba\xbe"


class FakeContainer(BytesTarget):
    """What is in an encrypted volume. Bytes are exchanged for others, zeros for zeros: nothing takes no room."""

    def __init__(self, stored: BytesTarget, passphrase: Secret) -> None:
        super().__init__(stored.size - HEADER)
        self._stored = stored
        salt = passphrase.reveal().encode()
        shuffled = sorted(range(1, 256), key=lambda value: hashlib.sha256(salt + bytes([value])).digest())
        self._seal = bytes([0, *shuffled])
        self._unseal = bytes(self._seal.index(value) for value in range(256))

    @property
    def read_only(self) -> bool:
        return self._stored.read_only

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self.size, offset, len(buffer))
        self._stored.read_into(HEADER + offset, buffer)
        buffer[:] = bytes(buffer).translate(self._unseal)

    def extents(self) -> Iterator[Extent]:
        for extent in self._stored.extents():
            if extent.offset >= HEADER:
                yield Extent(extent.offset - HEADER, extent.length)

    def write(self, offset: int, data: Data) -> None:
        check_range(self.size, offset, len(memoryview(data).cast("B")))
        self._stored.write(HEADER + offset, bytes(data).translate(self._seal))

    def discard(self, extent: Extent) -> None:
        check_range(self.size, extent.offset, extent.length)
        self._stored.discard(Extent(HEADER + extent.offset, extent.length))

    def flush(self) -> None:
        self._stored.flush()


def open_container(stored: BytesTarget, key: VolumeKey) -> FakeContainer:
    """NotEncryptedError without a header, AttachError with another passphrase's."""
    if not has_header(stored):
        raise NotEncryptedError("the device has no LUKS header")
    header = bytearray(len(_MAGIC) + 32)
    stored.read_into(0, memoryview(header))
    if header[len(_MAGIC) :] != _digest(key):
        raise AttachError("cryptsetup ended with 2: No key available with this passphrase")
    return FakeContainer(stored, key.passphrase)


def make_container(stored: BytesTarget, key: VolumeKey) -> None:
    """Nothing that the device held is in it."""
    stored.discard(Extent(0, stored.size))
    stored.write(0, _MAGIC + _digest(key))


def _digest(key: VolumeKey) -> bytes:
    return hashlib.sha256(key.passphrase.reveal().encode()).digest()
