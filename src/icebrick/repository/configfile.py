"""The config file: the repository's version, its id, and the polynomial that restic cuts files with.

It is sealed but neither compressed nor named by its hash; its MAC is what protects it.
"""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import dataclass

from icebrick.backend.base import Backend, FileType, Handle, ReadBackend
from icebrick.errors import CorruptDataError, FileMissingError, NoRepositoryError, RepositoryError
from icebrick.repository import gojson
from icebrick.repository.crypto import Key

log = logging.getLogger(__name__)

VERSION = 2
HANDLE = Handle(FileType.CONFIG)
_DEGREE = 53
_HEX = re.compile("[0-9a-f]{1,16}")


@dataclass(frozen=True, slots=True)
class Config:
    """What a repository says of itself; the polynomial's bits are its coefficients over GF(2)."""

    version: int
    id: str
    chunker_polynomial: int


def new_config() -> Config:
    return Config(VERSION, secrets.token_hex(32), random_polynomial())


def config_exists(backend: ReadBackend) -> bool:
    try:
        backend.stat(HANDLE)
    except FileMissingError:
        return False
    return True


def load_config(backend: ReadBackend, key: Key) -> Config:
    """NoRepositoryError, CorruptDataError, or RepositoryError when its version is not ours."""
    try:
        plain = _load_plain(backend, key)
    except FileMissingError as error:
        raise NoRepositoryError(f"no repository at {backend.location}") from error
    try:
        config = _decode(plain)
    except CorruptDataError as error:
        raise CorruptDataError(f"config of {backend.location} is damaged: {error}") from error
    _check_version(config.version, backend.location)
    return config


def _load_plain(backend: ReadBackend, key: Key) -> bytes:
    """CorruptDataError when the MAC is wrong, even when it is read once more."""
    try:
        return key.open(backend.load(HANDLE))
    except CorruptDataError as error:
        log.warning("file=%s reading it again: %s", HANDLE, error)
    try:
        return key.open(backend.load(HANDLE))
    except CorruptDataError as error:
        raise CorruptDataError(f"config of {backend.location} is damaged: {error}") from error


def save_config(backend: Backend, key: Key, config: Config) -> None:
    polynomial = f"{config.chunker_polynomial:x}"
    plain = gojson.encode({"version": config.version, "id": config.id, "chunker_polynomial": polynomial})
    backend.save(HANDLE, key.seal(plain))


def _decode(plain: bytes) -> Config:
    fields = gojson.parse_object(plain)
    polynomial = fields.text("chunker_polynomial")
    if not _HEX.fullmatch(polynomial):
        raise CorruptDataError(f"chunker polynomial {polynomial[:40]!r} is not a hexadecimal number")
    config = Config(fields.unsigned("version"), fields.text("id"), int(polynomial, 16))
    if not is_irreducible(config.chunker_polynomial):
        raise CorruptDataError(f"chunker polynomial {polynomial} is not irreducible")
    return config


def _check_version(version: int, location: str) -> None:
    if version == VERSION:
        return
    if version == 1:
        hint = "Upgrade it with 'restic migrate upgrade_repo_v2', then run 'restic prune' when it suits you."
        raise RepositoryError(f"repository at {location} has the old format version 1", hint=hint)
    raise RepositoryError(
        f"repository at {location} has format version {version}, known is {VERSION}",
        hint="A newer Icebrick may know it.",
    )


def random_polynomial() -> int:
    """A random irreducible polynomial of degree 53, as restic's chunker wants it."""
    while True:
        # without a constant term it would be divisible by x
        candidate = 1 << _DEGREE | secrets.randbits(_DEGREE) | 1
        if is_irreducible(candidate):
            return candidate


def is_irreducible(polynomial: int) -> bool:
    """Ben-Or's test over GF(2): it shares no factor with x^(2^i) - x for i up to half its degree."""
    degree = polynomial.bit_length() - 1
    if degree < 1:
        return False
    power = 2  # the polynomial x
    for _ in range(degree // 2):
        power = _remainder(_square(power), polynomial)
        if _common_divisor(polynomial, power ^ 2) != 1:
            return False
    return True


def _square(value: int) -> int:
    return int(format(value, "b"), 4)  # over GF(2) squaring puts a zero between any two bits


def _remainder(value: int, modulus: int) -> int:
    while value.bit_length() >= modulus.bit_length():
        value ^= modulus << (value.bit_length() - modulus.bit_length())
    return value


def _common_divisor(left: int, right: int) -> int:
    while right:
        left, right = right, _remainder(left, right)
    return left
