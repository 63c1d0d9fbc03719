"""Files that stock restic 0.14 made once, and vectors of the ciphers: what they say must never read differently."""

from __future__ import annotations

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import CorruptDataError
from icebrick.repository.crypto import Key
from icebrick.repository.repository import open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import parse_timestamp
from icebrick.secret import Secret

PASSWORD = Secret("known answer")
KEY_ID = "3ad2303235900ed119db076757f0781a1dc3036919e378635ddb84f62efda88d"
KEY_FILE = (
    b'{"created":"2026-11-23T06:32:24.911031481Z","username":"root","hostname":"vm","kdf":"scrypt","N":32768,"r":8,'
    b'"p":6,"salt":"6T/zu7pP9c45pdpRYAtkW/k4j+9eLIa9frScPBvApgoRalHuot/Y9Cu9qguwWIfSCcD/8yg/G/uLPrn7vVCIhw==","data":'
    b'"pVRD0tet2Uw57D5+BrZ/2Wxtu3lsY7pIfoieTBdNDYzjsAVcKr08m3IvDqssk5IEvhRVbei3MMNYix1uXhczP8/sD1k/zAyLs0v3v05w4Zn6L'
    b"qa/kjZuknVdtVONmlt8Q/OSLNBNUc+YKzALpIQwmZcL/jSKsFmktTQ9QC2xfUWcsEsz/qdvLmulZCmSyceNAeQgRE4d2yVhK+dIuq7OjA=="
    b'"}'
)
CONFIG = b64decode(
    "M6o3pidB31gYRYMU4nswAsxt2njvjodG+3F4mq3NvbaXJIX//CRCIJ4pNVC1mCXtGXCE+M57RYXYFK0jFXNg7FJhvLlLeCJQE15SEDhzBV9Ny/5u"
    "Mj8rpCfZrIbSmmViwDT8xGyUKnVzMde+JF+9I0p4hXzq4v03oMZoCjr8flFsppAK0GbhHVkqczByjsTb0d7iUa4DVgr8FeQ="
)
SNAPSHOT_ID = "69c88f8749b5720a8e18f2e6cb6c7666251cf13b9879c611da87ada5f1fc9072"
SNAPSHOT = b64decode(
    "U1RlwMJLHyTBjcDAX2qppn9TcT4aSYRhpJwo5uQHgZijNxilAMrp+Nxu+cq2meCDzzkFiwTBlDsTaheujn4UDjUWhjANEl94ye+0cE5FJMlq85El"
    "ErcNA1iRoHzpSHiS6L6e7nV/6P3yUxrBZL1sWxgeMnRStQzuwq/6VtsH6oWJgnI+Dsn64LJwvWHXvZ7KJj+kbgfU9lGvNhn5vFrb37HaXnOIV+Fn"
    "VQwMXaGCnUkLU067l/MEbEChdJ7mlPWwRA=="
)

# D. J. Bernstein, "The Poly1305-AES message-authentication code", appendix B: r, k, nonce, message, tag
POLY1305_AES = [
    (
        "851fc40c3467ac0be05cc20404f3f700",
        "ec074c835580741701425b623235add6",
        "fb447350c4e868c52ac3275cf9d4327e",
        "f3f6",
        "f4c633c3044fc145f84f335cb81953de",
    ),
    (
        "a0f3080000f46400d0c7e9076c834403",
        "75deaa25c09f208e1dc4ce6b5cad3fbf",
        "61ee0921 8d29b0aa ed7e154a 2c5509cc",
        "",
        "dd3fab2251f11ac759f0887129cc2ee7",
    ),
]


@pytest.mark.damages_repository("its packs and index are left out")
def test_a_repository_of_stock_restic_reads_as_it_did() -> None:
    backend = MemoryBackend()
    backend.save(Handle(FileType.KEY, KEY_ID), KEY_FILE)
    backend.save(Handle(FileType.CONFIG), CONFIG)
    backend.save(Handle(FileType.SNAPSHOT, SNAPSHOT_ID), SNAPSHOT)
    repository = open_repository(backend, PASSWORD)
    assert repository.key == Key(
        b64decode("5/x1IdMuacela8J50cVjFF9L24x057t7o7ysVjZDsbA="),
        b64decode("sVzwRtpKZUI31jXozYS6Aw=="),
        b64decode("kzJxBAzCBwaslLUB6LFsDg=="),
    )
    assert repository.id == "d88e57ae386b97733497a580080b06863b751b42ea8d51ccc0c7007d9d172394"
    assert repository.config.chunker_polynomial == 0x2CDA88CC21E071
    assert list(repository.snapshots()) == [
        Snapshot(
            time=parse_timestamp("2026-01-02T03:04:05Z"),
            tree=bytes.fromhex("77b4df3069605c918e8ee91d0df4bbd0893f945c3cca3ed6a3e13c11fd44586a"),
            paths=("/tmp/h3/kat/hello",),
            hostname="host",
            username="root",
            tags=("one",),
            id=SNAPSHOT_ID,
        )
    ]


@pytest.mark.parametrize(("r", "k", "nonce", "message", "tag"), POLY1305_AES)
def test_authentication_is_poly1305_aes(r: str, k: str, nonce: str, message: str, tag: str) -> None:
    key = Key(bytes(range(32)), bytes.fromhex(k), bytes.fromhex(r))
    iv, body = bytes.fromhex(nonce), bytes.fromhex(message)
    key_stream = Cipher(algorithms.AES(key.encrypt), modes.CTR(iv)).encryptor().update(bytes(len(body)))
    plain = bytes(left ^ right for left, right in zip(body, key_stream, strict=True))
    assert key.open(iv + body + bytes.fromhex(tag)) == plain


def test_encryption_is_aes_256_in_counter_mode() -> None:
    # NIST SP 800-38A, F.5.5: key, counter block, plaintext, ciphertext
    key = Key(bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"), bytes(16), bytes(16))
    iv = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    body = bytes.fromhex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    # with r = 0 the polynomial is 0, and the tag AES_k(nonce)
    tag = Cipher(algorithms.AES(bytes(16)), modes.ECB()).encryptor().update(iv)
    assert key.open(iv + body + tag) == plain


@pytest.mark.parametrize("place", [0, 15, 16, 40, -17, -16, -1])
def test_one_changed_bit_anywhere_is_noticed(place: int) -> None:
    key = Key(bytes(32), bytes(16), b"\x01" * 16)
    sealed = bytearray(key.seal(b"some plaintext that is long enough"))
    sealed[place] ^= 1
    with pytest.raises(CorruptDataError, match="authentication failed"):
        key.open(sealed)


@pytest.mark.parametrize("size", [0, 1, 31])
def test_what_is_too_short_to_be_sealed_is_corrupt(size: int) -> None:
    with pytest.raises(CorruptDataError, match="too short"):
        Key(bytes(32), bytes(16), bytes(16)).open(bytes(size))
