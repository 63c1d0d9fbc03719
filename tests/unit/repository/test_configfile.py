from __future__ import annotations

from itertools import product

import pytest

from icebrick.backend.memory import MemoryBackend
from icebrick.errors import CorruptDataError, NoRepositoryError, RepositoryError
from icebrick.repository import gojson
from icebrick.repository.configfile import (
    HANDLE,
    Config,
    config_exists,
    is_irreducible,
    load_config,
    new_config,
    random_polynomial,
    save_config,
)
from icebrick.repository.crypto import Key, new_key
from icebrick.testing.faults import Fault, FaultyBackend, Kind, Op

KEY = Key(bytes(32), bytes(16), bytes(16))


def store(fields: gojson.JsonValue) -> MemoryBackend:
    backend = MemoryBackend()
    backend.save(HANDLE, KEY.seal(gojson.encode(fields)))
    return backend


def multiply(left: int, right: int) -> int:
    result = 0
    for bit in range(right.bit_length()):
        if right >> bit & 1:
            result ^= left << bit
    return result


def test_a_config_comes_back_as_it_was() -> None:
    backend, config = MemoryBackend(), new_config()
    save_config(backend, KEY, config)
    assert load_config(backend, KEY) == config


def test_a_config_read_wrongly_once_is_read_again() -> None:
    backend, config, key = MemoryBackend(), new_config(), new_key()
    save_config(backend, key, config)
    assert load_config(FaultyBackend(backend, [Fault(Op.LOAD, 1, Kind.WRONG)]), key) == config


def test_the_plaintext_is_what_restic_writes() -> None:
    backend = MemoryBackend()
    save_config(backend, KEY, Config(2, "ab" * 32, 0x2F861ABA6B2B53))
    assert KEY.open(backend.load(HANDLE)) == (
        b'{"version":2,"id":"' + b"ab" * 32 + b'","chunker_polynomial":"2f861aba6b2b53"}'
    )


def test_without_a_config_there_is_no_repository() -> None:
    assert not config_exists(MemoryBackend())
    with pytest.raises(NoRepositoryError, match="mem:"):
        load_config(MemoryBackend(), KEY)


def test_version_1_is_refused_with_the_way_out() -> None:
    backend = store({"version": 1, "id": "ab" * 32, "chunker_polynomial": "2f861aba6b2b53"})
    with pytest.raises(RepositoryError, match="old format version 1") as caught:
        load_config(backend, KEY)
    assert "restic migrate upgrade_repo_v2" in str(caught.value.hint)


def test_a_newer_version_is_refused() -> None:
    backend = store({"version": 3, "id": "ab" * 32, "chunker_polynomial": "2f861aba6b2b53"})
    with pytest.raises(RepositoryError, match="format version 3, known is 2"):
        load_config(backend, KEY)


@pytest.mark.parametrize("polynomial", ["", "xyz", "-1", "2f861aba6b2b52", "0", "1", "f" * 17])
def test_a_polynomial_that_cannot_be_is_corrupt(polynomial: str) -> None:
    with pytest.raises(CorruptDataError, match="polynomial"):
        load_config(store({"version": 2, "id": "ab" * 32, "chunker_polynomial": polynomial}), KEY)


def test_a_config_of_another_key_is_corrupt() -> None:
    backend = MemoryBackend()
    save_config(backend, new_key(), new_config())
    with pytest.raises(CorruptDataError, match="config of mem: is damaged"):
        load_config(backend, KEY)


def test_irreducible_is_what_is_no_product() -> None:
    products = {multiply(left, right) for left, right in product(range(2, 256), repeat=2)}
    assert [value for value in range(2, 256) if is_irreducible(value)] == [
        value for value in range(2, 256) if value not in products
    ]


def test_random_polynomials_have_degree_53_and_differ() -> None:
    found = {random_polynomial() for _ in range(5)}
    assert len(found) == 5
    assert all(value.bit_length() == 54 and is_irreducible(value) for value in found)
