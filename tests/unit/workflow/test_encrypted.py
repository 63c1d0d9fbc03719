"""How encrypted volumes are read, and what the record tells of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.workflow.conftest import World
from tests.unit.workflow.sealed import GIB, TEXT, allow_encryption, encryption_of, make_sealed, unsealed

from icebrick.cloud.base import VolumeSpec
from icebrick.errors import AccessForbiddenError, CorruptDataError
from icebrick.progress import NO_PROGRESS
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakecontainer import HEADER
from icebrick.testing.fakerecords import SERVICE
from icebrick.workflow.encryption import EncryptedVolumes, Form, StoredEncryption
from icebrick.workflow.images import load_images
from icebrick.workflow.record import VolumeRecord, decode_record, encode_record
from icebrick.workflow.report import SavedSnapshot, to_json

FORBIDDEN = AccessForbiddenError("this user may not read it")


@pytest.fixture(autouse=True)
def _types(world: World) -> None:
    allow_encryption(world)


def back_up(world: World, volume_id: str, encrypted: EncryptedVolumes = EncryptedVolumes.AUTO) -> SavedSnapshot:
    report = world.back_up(volume_id, encrypted=encrypted)
    assert (report.failures, report.leftovers) == ((), ())
    return report.backups[0]


def record(world: World) -> VolumeRecord:
    images = load_images(world.repository, NO_PROGRESS)
    return images.record(images.snapshots[-1])


def stored(world: World, saved: SavedSnapshot) -> StoredEncryption:
    """As the record and the report both tell."""
    told, written = saved.encryption, record(world).stored_encryption
    assert told is not None
    assert written == replace(told, size=saved.size)
    return written


def test_a_volume_whose_key_the_agent_may_have_is_read_decrypted(world: World) -> None:
    volume_id = make_sealed(world)
    before = world.resources()
    saved = back_up(world, volume_id)
    assert stored(world, saved).form is Form.DECRYPTED
    assert saved.size == GIB - HEADER
    assert record(world).volume.size == 1
    assert world.resources() == before
    assert unsealed(world, volume_id) == TEXT


def test_the_record_tells_how_it_was_encrypted_and_no_key(world: World) -> None:
    volume_id = make_sealed(world)
    saved = back_up(world, volume_id)
    encryption = encryption_of(world, volume_id)
    assert stored(world, saved) == StoredEncryption(Form.DECRYPTED, encryption, None, GIB - HEADER)
    passphrase = world.cloud.get_key(encryption).passphrase.reveal()
    assert passphrase not in encode_record(record(world)).decode() + str(to_json(saved))


def test_a_second_backup_of_what_is_decrypted_is_compared_with_the_first(world: World) -> None:
    volume_id = make_sealed(world)
    first, second = back_up(world, volume_id), back_up(world, volume_id)
    assert (second.parent_id, second.digest) == (first.snapshot_id, first.digest)


def test_what_is_asked_for_as_it_is_stored_needs_no_key(world: World) -> None:
    volume_id = make_sealed(world)
    world.cloud.faults.fail("get_key", FORBIDDEN, times=99)
    saved = back_up(world, volume_id, EncryptedVolumes.AS_STORED)
    assert (stored(world, saved).form, saved.size) == (Form.AS_STORED, GIB)
    assert stored(world, saved).reason == "that was asked for"


def test_without_the_key_it_is_read_as_it_is_stored_and_that_is_told(world: World) -> None:
    volume_id = make_sealed(world)
    world.cloud.faults.fail("get_key", FORBIDDEN, times=99)
    saved = back_up(world, volume_id)
    assert stored(world, saved).form is Form.AS_STORED
    assert stored(world, saved).reason == "this user may not read it"


def test_without_the_key_a_backup_that_must_be_decrypted_fails_before_anything_is_made(world: World) -> None:
    volume_id = make_sealed(world)
    world.cloud.faults.fail("get_key", FORBIDDEN)
    (failure,) = world.back_up(volume_id, encrypted=EncryptedVolumes.DECRYPT).failures
    assert failure.message == f"cannot decrypt volume {volume_id}: this user may not read it"
    assert "create_snapshot" not in world.cloud.faults.calls


def test_a_volume_that_nobody_has_written_to_stays_so_and_is_read_as_it_is(world: World) -> None:
    volume_id = make_sealed(world, b"")
    saved = back_up(world, volume_id)
    assert stored(world, saved).form is Form.AS_STORED
    assert stored(world, saved).reason == "nobody has written to it yet"
    assert list(world.cloud.content(volume_id).extents()) == []
    assert "encrypt" not in world.connector.faults.calls


def test_an_administrator_who_may_not_have_the_key_is_told_why_there_is_no_clone(world: World) -> None:
    volume_id = make_sealed(world)
    admin = replace(world, cloud=FakeCloud(world.cloud.records, SERVICE, admin=True))
    (failure,) = admin.back_up(volume_id).failures
    assert failure.hint is not None and "a member of the volume's project" in failure.hint


@pytest.mark.parametrize("wanted", list(EncryptedVolumes))
def test_other_volumes_are_read_as_ever(world: World, wanted: EncryptedVolumes) -> None:
    volume = world.cloud.create_volume(VolumeSpec("plain", 1))
    saved = back_up(world, volume.id, wanted)
    assert (saved.encryption, record(world).stored_encryption, saved.size) == (None, None, GIB)
    assert "find_encryption" not in world.cloud.faults.calls


@pytest.mark.parametrize(("provider", "location"), [("plain", "front-end"), ("someone.elses.Encryptor", "front-end")])
def test_what_is_not_luks_is_read_as_it_is_stored(world: World, provider: str, location: str) -> None:
    volume_id = make_sealed(world)
    world.cloud.records.encrypted_types["luks"] = provider
    saved = back_up(world, volume_id)
    assert stored(world, saved).form is Form.AS_STORED
    assert stored(world, saved).reason == f"its format {provider} is not LUKS"


def test_a_record_of_before_there_was_this_is_of_what_was_stored(world: World) -> None:
    volume_id = make_sealed(world)
    back_up(world, volume_id)
    old = replace(record(world), encryption=None)
    assert decode_record(encode_record(old), "x").stored_encryption is not None
    assert decode_record(encode_record(old), "x").stored_encryption.form is Form.AS_STORED  # type: ignore[union-attr]


@pytest.mark.parametrize("change", [b'"form": "melted"', b'"form": 5', b'"form": null'])
def test_a_record_with_another_form_is_damaged(world: World, change: bytes) -> None:
    volume_id = make_sealed(world)
    back_up(world, volume_id)
    damaged = encode_record(record(world)).replace(b'"form": "decrypted"', change)
    with pytest.raises(CorruptDataError):
        decode_record(damaged, "x")
