"""Restoring to and from encrypted volumes: each keeps what it is given under its own key."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icebrick.attach.luks import change_passphrase, has_header, opens_with
from icebrick.cloud.base import Mode
from icebrick.encryption import Encryption, VolumeKey
from icebrick.errors import AttachError, FileMissingError, RepositoryError, UsageError
from icebrick.workflow.encryption import FORBIDDEN, DecryptedVolumes, Form, StoredEncryption
from icebrick.workflow.restoring.outcome import RestoredEncryption

if TYPE_CHECKING:
    from icebrick.cloud.base import Cloud, Volume
    from icebrick.repository.snapshot import Snapshot
    from icebrick.workflow.access import VolumeAccess
    from icebrick.workflow.images import Images
    from icebrick.workflow.restoring.content import VolumeDevices

log = logging.getLogger(__name__)

_GIB = 1 << 30
_LARGEST_HEADER = 16 << 20
"""Bytes that encryption takes of a volume, at most, where cryptsetup chooses."""
AGAIN = RestoredEncryption("encrypted again with the volume's own key")
OWN_KEY = RestoredEncryption("encrypted data as they were stored, which the volume's own key opens")
REKEYED = RestoredEncryption("encrypted data as they were stored, which the volume's own key opens from now on")
DROPPED = RestoredEncryption("not encrypted any more, as was allowed")


@dataclass(frozen=True, slots=True)
class Sealing:
    """What becomes of one snapshot's encryption. `stored` is None when the volume was not encrypted."""

    stored: StoredEncryption | None = None
    drop: bool = False
    """Whether what was encrypted may be stored without."""

    @property
    def _as_stored(self) -> bool:
        return self.stored is not None and self.stored.form is Form.AS_STORED

    def check(self, volume: Volume) -> None:
        """UsageError when the volume must not have the content."""
        if self.stored is None or volume.encrypted:
            return
        if self._as_stored:
            raise UsageError(
                f"volume {volume.id} is not encrypted, and nobody could read the encrypted data of the backup in it",
                hint="Choose an encrypted type with --map-type OLD=NEW, or restore the encrypted image with --target.",
            )
        if not self.drop:
            raise UsageError(
                f"volume {volume.id} is not encrypted, as the backed-up one was",
                hint="Choose an encrypted type with --map-type OLD=NEW, or allow it with --drop-encryption.",
            )

    def size_for(self, cloud: Cloud, volume: Volume, content: int) -> int:
        """GiB that a new volume like this one needs for `content` bytes, now that it tells how it is encrypted."""
        encryption = cloud.find_encryption(volume.id) if volume.encrypted else None
        if encryption is None or encryption.is_by_storage or self._as_stored:
            return volume.size
        if self.stored is not None and self.stored.encryption.provider == encryption.provider:
            return volume.size  # it has the same header as the old one
        return max(volume.size, -(-(content + _LARGEST_HEADER) // _GIB))

    def devices(self, access: VolumeAccess, volume: Volume, *, new: bool) -> VolumeDevices:
        """The way to where the content belongs. A `new` volume is encrypted first, and what it held is lost."""
        encryption = access.cloud.find_encryption(volume.id) if volume.encrypted else None
        if encryption is None or encryption.is_by_storage or self._as_stored:
            return access
        devices = DecryptedVolumes(access)
        if new:
            access.encrypt(volume, devices.key_of(volume))
        return devices

    def finish(self, access: VolumeAccess, volume: Volume, origin: Volume | None) -> RestoredEncryption | None:
        """Let what was written as it was stored open with the volume's own key; last, as it changes the header.

        `origin` is the volume itself, or that of which it is a copy and whose key it has. Tells how the volume is
        encrypted now, or what a person must do; None when it is as it always was.
        """
        if self.stored is None:
            return None
        if not volume.encrypted:
            return DROPPED
        if not self._as_stored:
            return AGAIN if self.stored.form is Form.DECRYPTED else None
        own = access.cloud.find_encryption(volume.id)
        assert own is not None, "an encrypted volume has a key"
        try:
            same = origin is not None and access.cloud.find_encryption(origin.id)
            return self._rekeyed(access, volume, own, self.stored.encryption, same or None)
        except AttachError as error:
            return _by_hand(self.stored.encryption, own, f"trying has failed: {error}")

    def _rekeyed(
        self, access: VolumeAccess, volume: Volume, own: Encryption, old: Encryption, origin: Encryption | None
    ) -> RestoredEncryption | None:
        new_key, reason = _find_key(access.cloud, own)
        if new_key is None:
            if origin is not None and origin.key_id == old.key_id:
                return OWN_KEY
            return _by_hand(old, own, reason)
        with access.device(volume, Mode.WRITE) as device:
            with device.open_source() as source:
                if not has_header(source):
                    return None
            if device.block_path is None:
                return _by_hand(old, own, "the storage shows this host a file")
            if opens_with(device.block_path, new_key.passphrase):
                return OWN_KEY
            old_key, reason = _find_key(access.cloud, old)
            if old_key is None:
                return _by_hand(old, own, reason)
            change_passphrase(device.block_path, old_key.passphrase, new_key.passphrase)
            log.info("changed key volume=%s from=%s to=%s", volume.id, old.key_id, own.key_id)
        return REKEYED


def sealing_of(images: Images, snapshot: Snapshot, existing: Volume | None, *, drop: bool) -> Sealing:
    """As the snapshot's record says. A damaged one is in the way of encrypted volumes only."""
    try:
        return Sealing(images.record(snapshot).stored_encryption, drop)
    except (RepositoryError, FileMissingError):
        if existing is not None and not existing.encrypted:
            return Sealing(None, drop)
        raise


def _find_key(cloud: Cloud, encryption: Encryption) -> tuple[VolumeKey | None, str]:
    try:
        return cloud.get_key(encryption), ""
    except FORBIDDEN as error:
        return None, str(error)


def _by_hand(old: Encryption, own: Encryption, reason: str) -> RestoredEncryption:
    return RestoredEncryption(
        f"encrypted data as they were stored, which open with key {old.key_id} alone, while the volume's own key is "
        f"{own.key_id}: somebody who has both must run 'cryptsetup luksChangeKey' on it before a server can use it "
        f"({reason})",
        needed_key_id=old.key_id,
    )
