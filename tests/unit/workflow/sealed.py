"""Encrypted volumes of the fake cloud, and what is in them."""

from __future__ import annotations

from tests.unit.workflow.conftest import World

from icebrick.cloud.base import VolumeSpec
from icebrick.encryption import Encryption
from icebrick.testing.fakecontainer import make_container, open_container

TEXT = b"what nobody may read who has not the key"
GIB = 1 << 30


def allow_encryption(world: World) -> None:
    """Volume types luks and luks2."""
    world.cloud.records.volume_types |= set(world.cloud.records.encrypted_types)


def make_sealed(world: World, text: bytes = TEXT) -> str:
    """The id of a new volume of type luks with this in it; with nothing, also without a header."""
    volume_id = world.cloud.create_volume(VolumeSpec("disk", 1, volume_type="luks")).id
    if text:
        key = world.cloud.get_key(encryption_of(world, volume_id))
        make_container(world.cloud.content(volume_id), key)
        open_container(world.cloud.content(volume_id), key).write(0, text)
    return volume_id


def unsealed(world: World, volume_id: str, length: int = len(TEXT)) -> bytes:
    """What its own key finds in it."""
    container = open_container(world.cloud.content(volume_id), world.cloud.get_key(encryption_of(world, volume_id)))
    buffer = bytearray(length)
    container.read_into(0, memoryview(buffer))
    return bytes(buffer)


def encryption_of(world: World, volume_id: str) -> Encryption:
    found = world.cloud.find_encryption(volume_id)
    assert found is not None
    return found
