"""restic's encryption: AES-256-CTR, authenticated with Poly1305-AES.

Sealed data is IV (16 bytes), ciphertext (as long as the plaintext), MAC (16 bytes). The one-time Poly1305 key is r
followed by AES-128_k(IV). Source: restic's design document, "Keys, Encryption and MAC".
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from icebrick.blockdev import Data
from icebrick.errors import CorruptDataError

IV_SIZE = 16
MAC_SIZE = 16
OVERHEAD = IV_SIZE + MAC_SIZE


@dataclass(frozen=True, slots=True)
class Key:
    """An encryption key (32 bytes) and the two halves of the MAC key (16 each)."""

    encrypt: bytes = field(repr=False)
    mac_k: bytes = field(repr=False)
    mac_r: bytes = field(repr=False)

    def seal(self, plain: Data) -> bytes:
        """IV | ciphertext | MAC, under a fresh random IV."""
        out = bytearray(len(plain) + OVERHEAD)
        Sealer(self).seal_into(plain, memoryview(out))
        return bytes(out)

    def open(self, sealed: Data) -> bytes:
        """The plaintext; CorruptDataError when it was not sealed with this key, or is damaged."""
        view = memoryview(sealed)
        out = bytearray(max(0, len(view) - OVERHEAD))
        Sealer(self).open_into(view, memoryview(out))
        return bytes(out)


class Sealer:
    """Seals and opens many times under one key, at little cost each. Belongs to one thread at a time."""

    def __init__(self, key: Key) -> None:
        self._mac_r = key.mac_r
        # ECB of a single block is how Poly1305-AES is defined
        self._block = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor()  # noqa: S305
        self._ctr = Cipher(algorithms.AES(key.encrypt), modes.CTR(bytes(IV_SIZE))).encryptor()

    def seal_into(self, plain: Data, out: memoryview) -> int:
        """Seal under a fresh random IV to the front of `out`, which has room; returns the sealed length."""
        end = IV_SIZE + len(plain)
        iv = os.urandom(IV_SIZE)
        out[:IV_SIZE] = iv
        self._crypt(iv, plain, out[IV_SIZE:end])
        out[end : end + MAC_SIZE] = Poly1305.generate_tag(self._one_time_key(iv), out[IV_SIZE:end])
        return end + MAC_SIZE

    def open_into(self, sealed: memoryview, out: memoryview) -> int:
        """The plaintext to the front of `out`, which must not overlap `sealed`; its length.

        CorruptDataError when it was not sealed with this key, or is damaged.
        """
        size = len(sealed) - OVERHEAD
        if size < 0:
            raise CorruptDataError(f"sealed data of {len(sealed)} bytes is too short")
        iv, body, tag = bytes(sealed[:IV_SIZE]), sealed[IV_SIZE:-MAC_SIZE], bytes(sealed[-MAC_SIZE:])
        try:
            Poly1305.verify_tag(self._one_time_key(iv), body, tag)
        except InvalidSignature as error:
            raise CorruptDataError("authentication failed: damaged data or another key") from error
        self._crypt(iv, body, out[:size])
        return size

    def _crypt(self, iv: bytes, data: Data, out: memoryview) -> None:
        if len(data):
            self._ctr.reset_nonce(iv)
            self._ctr.update_into(data, out)

    def _one_time_key(self, iv: bytes) -> bytes:
        return self._mac_r + self._block.update(iv)


def new_key() -> Key:
    """A random key."""
    return Key(secrets.token_bytes(32), secrets.token_bytes(16), secrets.token_bytes(16))
