"""Encrypted volumes: in which form a backup has them, and how one gets at what is in them.

What is read decrypted can be written to any volume, which keeps it under a key of its own; the agent sees it. What is
read as it is stored opens with the old key alone, and Cinder deletes that with its volume.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from icebrick.encryption import Encryption, VolumeKey
from icebrick.errors import AccessForbiddenError, IcebrickError, ResourceMissingError

if TYPE_CHECKING:
    from icebrick.attach.base import HostDevice
    from icebrick.blockdev import BlockSource, BlockTarget
    from icebrick.cloud.base import Cloud, Mode, Volume
    from icebrick.workflow.access import VolumeAccess

log = logging.getLogger(__name__)

FORBIDDEN = (AccessForbiddenError, ResourceMissingError)
"""Why the agent may not have a key."""


class EncryptedVolumes(Enum):
    """How they are to be read: decrypted where the agent may have the key, only so, or never."""

    AUTO = "auto"
    DECRYPT = "decrypt"
    AS_STORED = "as-stored"


class Form(Enum):
    """How what a backup has of an encrypted volume was read."""

    DECRYPTED = "decrypted"
    AS_STORED = "as-stored"
    BY_STORAGE = "by-storage"
    """The storage decrypts it for every host."""


@dataclass(frozen=True, slots=True)
class StoredEncryption:
    """How an encrypted volume was, and how it is in the backup. Nothing of it is secret."""

    form: Form
    encryption: Encryption
    reason: str | None = None
    """Why it is as it is stored; the end of a sentence."""
    size: int | None = None
    """Bytes of what was read: less than the volume has, where it was decrypted."""


def choose_form(cloud: Cloud, volume: Volume, wanted: EncryptedVolumes) -> StoredEncryption | None:
    """None for a volume that is not encrypted. IcebrickError when it is to be decrypted and cannot be."""
    encryption = cloud.find_encryption(volume.id) if volume.encrypted else None
    if encryption is None:
        return None
    if encryption.is_by_storage:
        return StoredEncryption(Form.BY_STORAGE, encryption)
    if wanted is EncryptedVolumes.AS_STORED:
        return StoredEncryption(Form.AS_STORED, encryption, "that was asked for")
    hindrance = _hindrance(cloud, encryption)
    if hindrance is None:
        return StoredEncryption(Form.DECRYPTED, encryption)
    if wanted is EncryptedVolumes.DECRYPT:
        raise IcebrickError(
            f"cannot decrypt volume {volume.id}: {hindrance}",
            hint="With --encrypted-volumes auto it is backed up as it is stored.",
        )
    log.warning("backing up as it is stored volume=%s: %s", volume.id, hindrance)
    return StoredEncryption(Form.AS_STORED, encryption, hindrance)


def _hindrance(cloud: Cloud, encryption: Encryption) -> str | None:
    if not encryption.is_luks:
        return f"its format {encryption.provider or 'without a name'} is not LUKS"
    try:
        cloud.get_key(encryption)
    except FORBIDDEN as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class DecryptedVolumes:
    """What is in volumes that are encrypted: `VolumeDevices`. Each volume's key is asked for when it is opened."""

    access: VolumeAccess

    def device(self, volume: Volume, mode: Mode) -> AbstractContextManager[HostDevice]:
        return self.access.device(volume, mode, key=self.key_of(volume))

    def readable(self, volume: Volume, *, direct: bool = False) -> AbstractContextManager[BlockSource]:
        return self.access.readable(volume, direct=direct, key=self.key_of(volume))

    def writable(self, volume: Volume) -> AbstractContextManager[BlockTarget]:
        return self.access.writable(volume, key=self.key_of(volume))

    def key_of(self, volume: Volume) -> VolumeKey:
        """IcebrickError when it is not to be had."""
        cloud = self.access.cloud
        encryption = cloud.find_encryption(volume.id)
        if encryption is None or not encryption.is_luks:
            raise IcebrickError(f"volume {volume.id} is not encrypted with LUKS")
        try:
            return cloud.get_key(encryption)
        except FORBIDDEN as error:
            raise IcebrickError(
                f"cannot open encrypted volume {volume.id}: {error}",
                hint="The agent's user needs to be allowed to read the volume's key in the key manager.",
            ) from error
