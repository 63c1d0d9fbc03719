"""The fake of the key manager, and of what Cinder does with it."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass

from icebrick.cloud.keys import check_key_id
from icebrick.encryption import Encryption, VolumeKey
from icebrick.errors import AccessForbiddenError, ResourceMissingError
from icebrick.secret import Secret
from icebrick.testing.fakerecords import FakeKey, FakeView

_CIPHER, _KEY_SIZE = "aes-xts-plain64", 256


@dataclass(frozen=True, slots=True)
class FakeKeys:
    """Under the records' lock."""

    view: FakeView

    def is_encrypted(self, volume_type: str) -> bool:
        return volume_type in self.view.records.encrypted_types

    def create(self, volume_id: str) -> None:
        """For a new volume."""
        self._keep(volume_id, Secret(secrets.token_hex(_KEY_SIZE // 8)))

    def share(self, origin_id: str, volume_id: str) -> None:
        """The same secret for a clone, under an id of its own; volume snapshots have their volume's."""
        key_id = self.view.records.key_ids.get(origin_id)
        if key_id is not None:
            self._keep(volume_id, self._key(key_id).passphrase)

    def take(self, volume_id: str) -> None:
        """What was another project's becomes this one's, under another id."""
        key = self.view.records.keys.pop(self.view.records.key_ids.pop(volume_id, ""), None)
        if key is not None:
            self._keep(volume_id, key.passphrase)

    def delete(self, volume_id: str) -> None:
        """A volume's goes with it."""
        self.view.records.keys.pop(self.view.records.key_ids.pop(volume_id, ""), None)

    def find_encryption(self, volume_id: str) -> Encryption | None:
        volume = self.view.volume(volume_id)
        key_id = self.view.records.key_ids.get(volume_id)
        if key_id is None:
            return None
        provider = self.view.records.encrypted_types[volume.volume_type or ""]
        return Encryption(provider, key_id, _CIPHER, _KEY_SIZE)

    def get(self, encryption: Encryption) -> VolumeKey:
        check_key_id(encryption.key_id)
        return VolumeKey(encryption, self._key(encryption.key_id).passphrase)

    def _keep(self, volume_id: str, passphrase: Secret) -> None:
        key_id = str(uuid.uuid4())
        self.view.records.keys[key_id] = FakeKey(self.view.project.id, passphrase)
        self.view.records.key_ids[volume_id] = key_id

    def _key(self, key_id: str) -> FakeKey:
        key = self.view.records.keys.get(key_id)
        if key is None:
            raise ResourceMissingError(f"key {key_id} could not be found")
        if not self.view.owns(key.project_id):
            raise AccessForbiddenError(f"key {key_id} is another project's")
        return key
