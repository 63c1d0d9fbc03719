"""Restoring to and from encrypted volumes: each keeps what it is given under its own key, or it is told what not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.workflow.conftest import HOST, World
from tests.unit.workflow.sealed import TEXT, allow_encryption, encryption_of, make_sealed, unsealed

from icebrick.blockdev import BlockSource
from icebrick.cloud.base import VolumeSpec
from icebrick.encryption import VolumeKey
from icebrick.errors import AccessForbiddenError
from icebrick.testing.fakeconnector import FakeConnector, block_device_of
from icebrick.testing.fakecontainer import HEADER, open_container
from icebrick.testing.fakerecords import FakeKey
from icebrick.workflow.encryption import EncryptedVolumes
from icebrick.workflow.restoring.encryption import AGAIN, DROPPED, OWN_KEY, REKEYED
from icebrick.workflow.restoring.outcome import Way

CHANGED = b"something else was written into the volume meanwhile"
AS_STORED = EncryptedVolumes.AS_STORED


@pytest.fixture(autouse=True)
def _types(world: World) -> None:
    allow_encryption(world)


def backed_up(world: World, encrypted: EncryptedVolumes = EncryptedVolumes.AUTO) -> str:
    volume_id = make_sealed(world)
    assert world.back_up(volume_id, encrypted=encrypted).failures == ()
    return volume_id


def change(world: World, volume_id: str) -> None:
    key = world.cloud.get_key(encryption_of(world, volume_id))
    open_container(world.cloud.content(volume_id), key).write(0, CHANGED)


@pytest.mark.parametrize("encrypted", [EncryptedVolumes.DECRYPT, AS_STORED])
@pytest.mark.parametrize("in_place", [False, True])
def test_what_a_volume_held_comes_back_both_ways(world: World, encrypted: EncryptedVolumes, in_place: bool) -> None:
    volume_id = backed_up(world, encrypted)
    change(world, volume_id)
    restored = world.restore(volume_id, in_place=in_place, verify=True)
    assert restored.way is (Way.IN_PLACE if in_place else Way.COPY)
    assert unsealed(world, restored.volume_id) == TEXT
    assert "encrypt" not in world.connector.faults.calls
    if not in_place:
        assert unsealed(world, volume_id, len(CHANGED)) == CHANGED
    if encrypted is not AS_STORED:
        assert restored.encryption == AGAIN


def test_onto_a_new_volume_it_is_encrypted_with_the_key_of_that(world: World) -> None:
    volume_id = backed_up(world)
    old = world.cloud.get_key(encryption_of(world, volume_id))
    world.cloud.delete_volume(volume_id)
    restored = world.restore(volume_id, verify=True)
    assert (restored.way, restored.encryption) == (Way.NEW, AGAIN)
    assert unsealed(world, restored.volume_id) == TEXT
    own = world.cloud.get_key(encryption_of(world, restored.volume_id))
    assert own.passphrase.reveal() != old.passphrase.reveal()


def test_a_type_that_is_not_encrypted_is_refused_and_nothing_stays(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.delete_volume(volume_id)
    before = world.resources()
    failure = world.failed_restore(volume_id, map_type={"luks": "__DEFAULT__"})
    assert "is not encrypted, as the backed-up one was" in failure.message
    assert failure.hint is not None and "--drop-encryption" in failure.hint
    assert world.resources() == before


def test_encryption_is_dropped_where_that_is_asked_for(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.delete_volume(volume_id)
    restored = world.restore(volume_id, map_type={"luks": "__DEFAULT__"}, drop_encryption=True, verify=True)
    assert restored.encryption == DROPPED
    assert world.content(restored.volume_id)[: len(TEXT)] == TEXT


def test_a_volume_that_is_not_encrypted_any_more_is_refused_before_anything_is_made(world: World) -> None:
    volume_id = backed_up(world)
    world.cloud.records.change_volume(volume_id, encrypted=False, volume_type="__DEFAULT__")
    made = world.cloud.faults.calls.count("create_snapshot")
    assert "is not encrypted" in world.failed_restore(volume_id, in_place=True).message
    assert world.cloud.faults.calls.count("create_snapshot") == made


def test_what_was_not_encrypted_can_be_from_now_on_in_a_larger_volume(world: World) -> None:
    volume_id = world.make_volume(TEXT).id
    world.back_up(volume_id)
    world.cloud.delete_volume(volume_id)
    before = world.resources()
    restored = world.restore(volume_id, map_type={"__DEFAULT__": "luks"}, verify=True)
    assert unsealed(world, restored.volume_id) == TEXT
    assert world.cloud.get_volume(restored.volume_id).size == 2
    assert world.resources() - before == {restored.volume_id}


def test_encrypted_data_are_not_written_where_nobody_could_read_them(world: World) -> None:
    volume_id = backed_up(world, AS_STORED)
    world.cloud.delete_volume(volume_id)
    failure = world.failed_restore(volume_id, map_type={"luks": "__DEFAULT__"}, drop_encryption=True)
    assert "nobody could read the encrypted data" in failure.message


def test_of_a_new_volume_it_is_told_which_key_it_needs(world: World) -> None:
    volume_id = backed_up(world, AS_STORED)
    old = encryption_of(world, volume_id).key_id
    stored = world.cloud.content(volume_id).copy()
    world.cloud.delete_volume(volume_id)
    restored = world.restore(volume_id, verify=True)
    assert restored.encryption is not None
    assert restored.encryption.needed_key_id == old
    assert "cryptsetup luksChangeKey" in restored.encryption.how
    assert beginning(world.cloud.content(restored.volume_id)) == beginning(stored)


def test_a_volume_that_nobody_had_written_to_needs_no_key(world: World) -> None:
    volume_id = make_sealed(world, b"")
    world.back_up(volume_id)
    world.cloud.delete_volume(volume_id)
    assert world.restore(volume_id).encryption is None


def test_a_copy_opens_with_the_key_that_it_shares_though_the_agent_may_not_have_it(world: World) -> None:
    volume_id = backed_up(world, AS_STORED)
    world.cloud.faults.fail("get_key", AccessForbiddenError("this user may not read it"), times=99)
    assert world.restore(volume_id).encryption == OWN_KEY


@pytest.fixture
def real(world: World, require: Callable[[str, Any, str], None]) -> World:
    """With loop devices, for the real cryptsetup."""
    require("root", os.geteuid() == 0, "loop devices need root")
    require("cryptsetup", shutil.which("cryptsetup", path="/usr/sbin:/sbin"), "cryptsetup is not installed")
    return replace(world, connector=FakeConnector(world.cloud.records, HOST, makes_devices=True))


@pytest.mark.parametrize("kept", [True, False])
def test_data_as_stored_open_with_the_new_key_where_the_old_one_can_still_be_had(real: World, kept: bool) -> None:
    volume_id = real.cloud.create_volume(VolumeSpec("disk", 1, volume_type="luks")).id
    old = real.cloud.get_key(encryption_of(real, volume_id))
    with block_device_of(real.cloud.content(volume_id)) as device:
        cryptsetup("luksFormat", "--batch-mode", "--type=luks1", "--pbkdf-force-iterations=1000", device, key=old)
    assert real.back_up(volume_id, encrypted=AS_STORED).failures == ()
    real.cloud.delete_volume(volume_id)
    if kept:
        project_id = real.cloud.project().id
        real.cloud.records.keys[old.encryption.key_id] = FakeKey(project_id, old.passphrase)
    restored = real.restore(volume_id, verify=True)
    own = real.cloud.get_key(encryption_of(real, restored.volume_id))
    with block_device_of(real.cloud.content(restored.volume_id)) as device:
        assert (opens(device, own), opens(device, old)) == (kept, not kept)
    told = restored.encryption
    assert told is not None
    assert told == REKEYED if kept else told.needed_key_id == old.encryption.key_id


def test_data_as_stored_on_a_copy_are_found_to_open_with_its_key(real: World) -> None:
    volume_id = real.cloud.create_volume(VolumeSpec("disk", 1, volume_type="luks")).id
    key = real.cloud.get_key(encryption_of(real, volume_id))
    with block_device_of(real.cloud.content(volume_id)) as device:
        cryptsetup("luksFormat", "--batch-mode", "--type=luks1", "--pbkdf-force-iterations=1000", device, key=key)
    real.back_up(volume_id, encrypted=AS_STORED)
    assert real.restore(volume_id).encryption == OWN_KEY


def cryptsetup(*arguments: str, key: VolumeKey) -> int:
    command = ["cryptsetup", *arguments, "--key-file=-"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(
        command, check=False, input=key.passphrase.reveal().encode(), env=environment, capture_output=True
    )
    return done.returncode


def opens(device: str, key: VolumeKey) -> bool:
    return cryptsetup("open", "--test-passphrase", device, key=key) == 0


def beginning(source: BlockSource) -> bytes:
    """With the header, and what was written behind it."""
    buffer = bytearray(HEADER + len(TEXT))
    source.read_into(0, memoryview(buffer))
    return bytes(buffer)
