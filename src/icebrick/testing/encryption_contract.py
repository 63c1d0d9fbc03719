"""What every Cloud must do with encrypted volumes: FakeCloud and the real Cinder with Barbican pass the same suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from icebrick.cloud.base import Cloud, Volume, VolumeSpec
from icebrick.encryption import Encryption
from icebrick.errors import AccessForbiddenError, ResourceMissingError
from icebrick.testing.cloud_suite import MISSING


class EncryptionContract:
    """Inherit, and give the fixtures `cloud` and `stranger`, as in `cloud_suite`; with volume types luks and luks2."""

    @pytest.fixture
    def encrypted(self, cloud: Cloud) -> Iterator[Volume]:
        volume = cloud.create_volume(VolumeSpec("secret", 1, volume_type="luks"))
        yield volume
        cloud.delete_volume(volume.id)

    def test_a_volume_of_an_encrypted_type_says_so_and_how(self, cloud: Cloud, encrypted: Volume) -> None:
        assert encrypted.encrypted
        told = encryption_of(cloud, encrypted)
        wanted = Encryption("luks", told.key_id, "aes-xts-plain64", 256, "front-end")
        assert (told, bool(told.key_id)) == (wanted, True)

    def test_a_plain_volume_has_no_encryption(self, cloud: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("plain", 1))
        try:
            assert (volume.encrypted, cloud.find_encryption(volume.id)) == (False, None)
        finally:
            cloud.delete_volume(volume.id)

    def test_a_key_has_as_many_bits_as_its_encryption_says_and_is_not_shown(
        self, cloud: Cloud, encrypted: Volume
    ) -> None:
        key = cloud.get_key(encryption_of(cloud, encrypted))
        assert len(bytes.fromhex(key.passphrase.reveal())) * 8 == 256
        assert key.passphrase.reveal() not in f"{key!r} {key.passphrase} {key.passphrase!r}"

    def test_a_clone_opens_with_the_same_secret_under_another_id(self, cloud: Cloud, encrypted: Volume) -> None:
        snapshot = cloud.create_snapshot(encrypted.id, name="frozen", metadata={})
        clone = cloud.create_clone(snapshot, name="clone", metadata={})
        try:
            first, second = encryption_of(cloud, encrypted), encryption_of(cloud, clone)
            assert clone.encrypted and first.key_id != second.key_id
            assert cloud.get_key(first).passphrase.reveal() == cloud.get_key(second).passphrase.reveal()
        finally:
            cloud.delete_volume(clone.id)
            cloud.delete_snapshot(snapshot.id)

    def test_each_volume_has_a_secret_of_its_own_which_goes_with_it(self, cloud: Cloud, encrypted: Volume) -> None:
        other = cloud.create_volume(VolumeSpec("secret", 1, volume_type="luks2"))
        how = encryption_of(cloud, other)
        assert how.provider == "luks2"
        own = cloud.get_key(encryption_of(cloud, encrypted))
        assert cloud.get_key(how).passphrase.reveal() != own.passphrase.reveal()
        cloud.delete_volume(other.id)
        with pytest.raises(ResourceMissingError):
            cloud.get_key(how)

    def test_the_key_of_a_volume_that_is_handed_over_goes_with_it(self, cloud: Cloud, stranger: Cloud) -> None:
        volume = cloud.create_volume(VolumeSpec("secret", 1, volume_type="luks"))
        before = cloud.get_key(encryption_of(cloud, volume))
        taken = stranger.accept_transfer(cloud.create_transfer(volume.id, name="given"))
        after = stranger.get_key(encryption_of(stranger, taken))
        assert after.passphrase.reveal() == before.passphrase.reveal()
        stranger.delete_volume(taken.id)

    def test_a_stranger_may_not_have_the_key(self, cloud: Cloud, stranger: Cloud, encrypted: Volume) -> None:
        how = encryption_of(cloud, encrypted)
        with pytest.raises(AccessForbiddenError, match=how.key_id):
            stranger.get_key(how)

    @pytest.mark.parametrize("key_id", [MISSING, "00000000-0000-0000-0000-000000000000", "../../v1/secrets", ""])
    def test_a_key_that_is_none_is_missing(self, cloud: Cloud, key_id: str) -> None:
        with pytest.raises(ResourceMissingError):
            cloud.get_key(Encryption("luks", key_id))

    def test_the_encryption_of_a_missing_volume_is_an_error(self, cloud: Cloud, encrypted: Volume) -> None:
        with pytest.raises(ResourceMissingError):
            cloud.find_encryption(replace(encrypted, id=MISSING).id)


def encryption_of(cloud: Cloud, volume: Volume) -> Encryption:
    found = cloud.find_encryption(volume.id)
    assert found is not None
    return found
