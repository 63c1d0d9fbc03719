"""Key files: the repository's one master key, sealed once for each password that opens it."""

from __future__ import annotations

import hashlib
import logging
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from icebrick.backend.base import Backend, FileType, Handle, ReadBackend
from icebrick.errors import CorruptDataError, FileMissingError, RepositoryError, WrongPasswordError
from icebrick.repository import gojson
from icebrick.repository.crypto import Key
from icebrick.repository.ids import digest
from icebrick.repository.timestamp import Timestamp, now
from icebrick.repository.unpacked import load_verified
from icebrick.repository.whoami import current_user
from icebrick.secret import Secret

log = logging.getLogger(__name__)

MAX_KEYS = 20
"""How many keys are tried, as in restic: each costs half a second of computing."""
_MAX_MEMORY = 512 << 20  # restic's own choice stays below 64 MiB
_MAX_WORK = 4 << 30  # bytes mixed: some ten seconds
_SALT_SIZE = 64


@dataclass(frozen=True, slots=True)
class ScryptParameters:
    """The cost of trying one password: 128 * n * r bytes of memory, p times over.

    The defaults are what restic itself arrives at: 32 MiB, a tenth of a second. A weak password stays weak.
    """

    n: int = 32768
    r: int = 8
    p: int = 1

    def check(self) -> None:
        """CorruptDataError when they make no sense, or would eat this host's memory or time."""
        memory = 128 * self.n * self.r
        sane = self.n > 1 and self.n & (self.n - 1) == 0 and self.r > 0 and self.p > 0
        if not sane or memory > _MAX_MEMORY or memory * self.p > _MAX_WORK:
            raise CorruptDataError(f"unacceptable scrypt parameters N={self.n} r={self.r} p={self.p}")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a key file says in the clear, and the master key as only its password opens it."""

    id: str
    created: Timestamp
    username: str
    hostname: str
    parameters: ScryptParameters
    salt: bytes = field(repr=False)
    sealed_master: bytes = field(repr=False)


def create_key(
    backend: Backend, master: Key, password: Secret, *, parameters: ScryptParameters | None = None
) -> KeyFile:
    """Store a new key file that opens `master` with `password`."""
    parameters = parameters or ScryptParameters()
    salt = secrets.token_bytes(_SALT_SIZE)
    sealed = _derive(password, salt, parameters).seal(_encode_master(master))
    created, username, hostname = now(), current_user(), socket.gethostname()
    data = gojson.encode(
        {
            "created": str(created),
            "username": username,
            "hostname": hostname,
            "kdf": "scrypt",
            "N": parameters.n,
            "r": parameters.r,
            "p": parameters.p,
            "salt": gojson.encode_bytes(salt),
            "data": gojson.encode_bytes(sealed),
        }
    )
    name = digest(data).hex()
    backend.save(Handle(FileType.KEY, name), data)
    return KeyFile(name, created, username, hostname, parameters, salt, sealed)


def load_key_file(backend: ReadBackend, name: str) -> KeyFile:
    """CorruptDataError names the file."""
    handle = Handle(FileType.KEY, name)
    data = load_verified(backend, handle)
    try:
        return _decode(name, data)
    except CorruptDataError as error:
        raise CorruptDataError(f"{handle} cannot be used: {error}") from error


def list_key_files(backend: ReadBackend, *, damaged: list[str] | None = None) -> Iterator[KeyFile]:
    """By name; damaged ones are passed over with a warning, their names put into `damaged`."""
    for name in sorted(info.handle.name for info in backend.list_files(FileType.KEY)):
        try:
            yield load_key_file(backend, name)
        except FileMissingError:
            continue  # removed since it was listed
        except CorruptDataError as error:
            log.warning("key=%s %s", name, error)
            if damaged is not None:
                damaged.append(name)


def open_key(backend: ReadBackend, password: Secret) -> tuple[KeyFile, Key]:
    """The first key file that the password opens, and the master key in it; WrongPasswordError."""
    damaged: list[str] = []
    tried = 0
    for key_file in list_key_files(backend, damaged=damaged):
        if tried == MAX_KEYS:
            break
        tried += 1
        master = open_key_file(key_file, password)
        if master is not None:
            return key_file, master
    raise _no_key(backend.location, tried, damaged)


def _no_key(location: str, tried: int, damaged: list[str]) -> RepositoryError:
    hint = f"Damaged key files were passed over: {', '.join(damaged)}." if damaged else None
    if not tried:
        return CorruptDataError(f"repository at {location} has no usable key file", hint=hint)
    if tried == MAX_KEYS:
        return WrongPasswordError(
            f"none of the first {MAX_KEYS} keys of {location} opens with this password", hint=hint
        )
    return WrongPasswordError(f"no key of {location} opens with this password", hint=hint)


def open_key_file(key_file: KeyFile, password: Secret) -> Key | None:
    """The master key; None when the password does not open this file."""
    user_key = _derive(password, key_file.salt, key_file.parameters)
    try:
        plain = user_key.open(key_file.sealed_master)
    except CorruptDataError:
        return None  # the file matches its name, so it is the password that does not fit
    try:
        return _decode_master(plain)
    except CorruptDataError as error:
        raise CorruptDataError(f"keys/{key_file.id} holds no master key: {error}") from error


def _derive(password: Secret, salt: bytes, parameters: ScryptParameters) -> Key:
    n, r, p = parameters.n, parameters.r, parameters.p
    memory = 128 * r * (n + p + 2)
    secret = password.reveal().encode("utf-8", "surrogateescape")
    derived = hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=64)
    return Key(derived[:32], derived[32:48], derived[48:])


def _encode_master(master: Key) -> bytes:
    mac = {"k": gojson.encode_bytes(master.mac_k), "r": gojson.encode_bytes(master.mac_r)}
    return gojson.encode({"mac": mac, "encrypt": gojson.encode_bytes(master.encrypt)})


def _decode_master(plain: bytes) -> Key:
    fields = gojson.parse_object(plain)
    mac = fields.section("mac")
    if mac is None:
        raise CorruptDataError("no MAC key")
    key = Key(fields.raw("encrypt"), mac.raw("k"), mac.raw("r"))
    if (len(key.encrypt), len(key.mac_k), len(key.mac_r)) != (32, 16, 16):
        raise CorruptDataError("keys of the wrong length")
    return key


def _decode(name: str, data: bytes) -> KeyFile:
    fields = gojson.parse_object(data)
    if fields.text("kdf") != "scrypt":
        raise CorruptDataError(f"unknown key derivation {fields.text('kdf')[:40]!r}")
    parameters = ScryptParameters(fields.unsigned("N"), fields.unsigned("r"), fields.unsigned("p"))
    parameters.check()
    salt = fields.raw("salt")
    if not salt:
        raise CorruptDataError("no salt")
    return KeyFile(
        name,
        fields.time("created"),
        fields.text("username"),
        fields.text("hostname"),
        parameters,
        salt,
        fields.raw("data"),
    )
