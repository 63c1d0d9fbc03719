from __future__ import annotations

import logging

import pytest

from icebrick.backend.base import FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import CorruptDataError, WrongPasswordError
from icebrick.repository import gojson, keyfile
from icebrick.repository.crypto import Key, new_key
from icebrick.repository.ids import digest
from icebrick.repository.keyfile import KeyFile, ScryptParameters, create_key, list_key_files, load_key_file, open_key
from icebrick.secret import Secret

CHEAP = ScryptParameters(n=2)
GOOD, OTHER = Secret("geheim"), Secret("anders")
MASTER = new_key()


def add(backend: MemoryBackend, password: Secret = GOOD, master: Key = MASTER) -> KeyFile:
    return create_key(backend, master, password, parameters=CHEAP)


def store(backend: MemoryBackend, data: bytes) -> str:
    name = digest(data).hex()
    backend.save(Handle(FileType.KEY, name), data)
    return name


def changed(backend: MemoryBackend, key: KeyFile, **fields: gojson.JsonValue) -> str:
    """Store the key file again with other fields, under its right name, instead of the first."""
    handle = Handle(FileType.KEY, key.id)
    values = gojson.parse_object(backend.load(handle)).fields | fields
    backend.remove(handle)
    return store(backend, gojson.encode(values))  # type: ignore[arg-type]


def damage(backend: MemoryBackend, key: KeyFile) -> None:
    handle = Handle(FileType.KEY, key.id)
    backend.save(handle, backend.load(handle)[:-1])


def test_the_password_opens_the_master_key() -> None:
    backend = MemoryBackend()
    key_file = add(backend)
    assert open_key(backend, GOOD) == (key_file, MASTER)


def test_any_of_several_passwords_opens() -> None:
    backend = MemoryBackend()
    add(backend)
    second = add(backend, OTHER)
    assert open_key(backend, OTHER) == (second, MASTER)


def test_a_password_need_not_be_ascii_nor_utf8() -> None:
    backend = MemoryBackend()
    add(backend, Secret("pässwörd\udcff"))
    assert open_key(backend, Secret("pässwörd\udcff"))[1] == MASTER


def test_another_password_is_wrong() -> None:
    backend = MemoryBackend()
    add(backend)
    with pytest.raises(WrongPasswordError, match="no key of mem: opens with this password") as caught:
        open_key(backend, OTHER)
    assert "damaged" not in (caught.value.hint or "")


def test_a_damaged_key_file_does_not_hide_a_good_one(caplog: pytest.LogCaptureFixture) -> None:
    backend = MemoryBackend()
    keys = [add(backend) for _ in range(2)]
    first = min(keys, key=lambda key: key.id)
    damage(backend, first)
    with caplog.at_level(logging.WARNING):
        assert open_key(backend, GOOD)[1] == MASTER
    assert first.id in caplog.text


def test_a_wrong_password_with_a_damaged_key_file_says_so() -> None:
    backend = MemoryBackend()
    damaged = add(backend)
    damage(backend, damaged)
    add(backend, OTHER)
    with pytest.raises(WrongPasswordError) as caught:
        open_key(backend, GOOD)
    assert damaged.id in str(caught.value.hint)


def test_only_damaged_key_files_are_no_matter_of_passwords() -> None:
    backend = MemoryBackend()
    damage(backend, add(backend))
    with pytest.raises(CorruptDataError, match="no usable key file"):
        open_key(backend, GOOD)


def test_at_most_twenty_keys_are_tried() -> None:
    backend = MemoryBackend()
    for _ in range(21):
        add(backend, OTHER)
    with pytest.raises(WrongPasswordError, match="none of the first 20 keys"):
        open_key(backend, GOOD)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"N": 1 << 30}, "scrypt parameters"),
        ({"N": 3}, "scrypt parameters"),
        ({"N": 1}, "scrypt parameters"),
        ({"N": 0}, "scrypt parameters"),
        ({"r": 0}, "scrypt parameters"),
        ({"p": 0}, "scrypt parameters"),
        ({"p": 1 << 40}, "scrypt parameters"),
        ({"r": 1 << 20, "N": 8}, "scrypt parameters"),
        ({"kdf": "argon2"}, "argon2"),
        ({"salt": ""}, "no salt"),
        ({"salt": "?"}, "base64"),
        ({"created": "gestern"}, "time"),
    ],
)
def test_a_key_file_that_makes_no_sense_is_not_tried(fields: dict[str, gojson.JsonValue], reason: str) -> None:
    backend = MemoryBackend()
    name = changed(backend, add(backend), **fields)
    with pytest.raises(CorruptDataError, match=f"{name} cannot be used.*{reason}"):
        load_key_file(backend, name)


@pytest.mark.parametrize("plain", [b"{}", b'{"mac":{"k":"","r":""},"encrypt":""}', b"no json"])
def test_a_sealed_master_key_that_is_none_is_corrupt(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend()
    monkeypatch.setattr(keyfile, "_encode_master", lambda _: plain)
    add(backend)
    with pytest.raises(CorruptDataError, match="holds no master key"):
        open_key(backend, GOOD)


def test_keys_are_listed_with_who_made_them() -> None:
    backend = MemoryBackend()
    created = add(backend)
    assert list(list_key_files(backend)) == [created]
    assert created.hostname


def test_neither_salt_nor_sealed_key_is_shown() -> None:
    key_file = add(MemoryBackend())
    assert repr(key_file.salt) not in repr(key_file)
    assert repr(key_file.sealed_master) not in repr(key_file)
