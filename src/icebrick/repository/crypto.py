"""restic's encryption: AES-256-CTR, authenticated with Poly1305-AES.

Sealed data is IV (16 bytes), ciphertext (as long as the plaintext), MAC (16 bytes). The one-time Poly1305 key is r
followed by AES-128_k(IV). Source: restic's design document, "Keys, Encryption and MAC".
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
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
        self.seal_into(plain, memoryview(out))
        return bytes(out)

    def seal_into(self, plain: Data, out: memoryview) -> int:
        """Seal to the front of `out`, which has room; returns the sealed length."""
        end = IV_SIZE + len(plain)
        iv = os.urandom(IV_SIZE)
        out[:IV_SIZE] = iv
        if len(plain):
            self._ctr(iv).update_into(plain, out[IV_SIZE:end])
        out[end : end + MAC_SIZE] = Poly1305.generate_tag(self._one_time_key(iv), out[IV_SIZE:end])
        return end + MAC_SIZE

    def open(self, sealed: Data) -> bytes:
        """The plaintext; CorruptDataError when it was not sealed with this key, or is damaged."""
        view = memoryview(sealed)
        if len(view) < OVERHEAD:
            raise CorruptDataError(f"sealed data of {len(view)} bytes is too short")
        out = bytearray(len(view) - OVERHEAD)
        self.open_into(view, memoryview(out))
        return bytes(out)

    def open_into(self, sealed: memoryview, out: memoryview) -> int:
        """As `open`, to the front of `out`; returns the plaintext's length. `out` must not overlap `sealed`."""
        size = len(sealed) - OVERHEAD
        if size < 0:
            raise CorruptDataError(f"sealed data of {len(sealed)} bytes is too short")
        iv, body, tag = bytes(sealed[:IV_SIZE]), sealed[IV_SIZE:-MAC_SIZE], bytes(sealed[-MAC_SIZE:])
        try:
            Poly1305.verify_tag(self._one_time_key(iv), body, tag)
        except InvalidSignature as error:
            raise CorruptDataError("authentication failed: damaged data or another key") from error
        if size:
            self._ctr(iv).update_into(body, out[:size])
        return size

    def _one_time_key(self, iv: bytes) -> bytes:
        # ECB of a single block is how Poly1305-AES is defined
        return self.mac_r + Cipher(algorithms.AES(self.mac_k), modes.ECB()).encryptor().update(iv)  # noqa: S305

    def _ctr(self, iv: bytes) -> CipherContext:
        return Cipher(algorithms.AES(self.encrypt), modes.CTR(iv)).encryptor()


def new_key() -> Key:
    """A random key."""
    return Key(secrets.token_bytes(32), secrets.token_bytes(16), secrets.token_bytes(16))
