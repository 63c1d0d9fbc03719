"""What every Connector must do with encrypted volumes: the fake, and os-brick where the kernel has dm-crypt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from icebrick.attach.base import Connector
from icebrick.attach.luks import has_header
from icebrick.blockdev import BlockSource
from icebrick.cloud.base import Attachment, Cloud, Mode, Volume, VolumeSpec
from icebrick.connection import ConnectionInfo
from icebrick.encryption import VolumeKey
from icebrick.errors import AttachError, NotEncryptedError
from icebrick.secret import Secret
from icebrick.testing.cloud_suite import GIB, attached_to
from icebrick.testing.encryption_contract import encryption_of

TEXT = b"what nobody may read who has not the key"
AT = 1 << 20


class DecryptionContract:
    """Inherit, and give the fixtures `cloud` and `connector`, as in `cloud_suite`; with volume types luks and luks2."""

    @pytest.fixture(params=["luks", "luks2"])
    def provider(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def volume(self, cloud: Cloud, provider: str) -> Iterator[Volume]:
        volume = cloud.create_volume(VolumeSpec("secret", 1, volume_type=provider))
        yield volume
        cloud.delete_volume(volume.id)

    @pytest.fixture
    def attachment(self, cloud: Cloud, connector: Connector, volume: Volume) -> Iterator[Attachment]:
        with attached_to(cloud, connector, volume, Mode.WRITE) as attachment:
            yield attachment

    @pytest.fixture
    def info(self, attachment: Attachment) -> ConnectionInfo:
        assert attachment.connection is not None
        return attachment.connection

    @pytest.fixture
    def key(self, cloud: Cloud, volume: Volume) -> VolumeKey:
        return cloud.get_key(encryption_of(cloud, volume))

    def test_what_is_written_with_the_key_is_read_with_it_alone_and_stored_encrypted(
        self, connector: Connector, info: ConnectionInfo, key: VolumeKey
    ) -> None:
        connector.encrypt(info, size=GIB, key=key)
        with connector.open_target(info, size=GIB, key=key) as target:
            target.write(AT, TEXT)
            target.flush()
            assert 0 < target.size < GIB
        with connector.open_source(info, size=GIB, direct=True, key=key) as source:
            assert read(source, AT, len(TEXT)) == TEXT
        with connector.open_device(info, size=GIB, key=key) as device, device.open_source() as source:
            assert (read(source, AT, len(TEXT)), device.size) == (TEXT, source.size)
        with connector.open_source(info, size=GIB) as stored:
            assert has_header(stored)
            header = GIB - source.size
            assert read(stored, header + AT, len(TEXT)) not in (TEXT, bytes(len(TEXT)))
        wrong = replace(key, passphrase=Secret("f" * 64))
        with pytest.raises(AttachError) as told, connector.open_source(info, size=GIB, key=wrong):
            pass
        assert "f" * 64 not in str(told.value)

    def test_encrypting_again_leaves_nothing_of_what_was_there(
        self, connector: Connector, info: ConnectionInfo, key: VolumeKey
    ) -> None:
        connector.encrypt(info, size=GIB, key=key)
        with connector.open_target(info, size=GIB, key=key) as target:
            target.write(AT, TEXT)
            target.flush()
        other = replace(key, passphrase=Secret("0" * 64))
        connector.encrypt(info, size=GIB, key=other)
        with connector.open_source(info, size=GIB, key=other) as source:
            assert read(source, AT, len(TEXT)) != TEXT
        with pytest.raises(AttachError), connector.open_source(info, size=GIB, key=key):
            pass

    def test_what_was_never_encrypted_is_not_encrypted_by_opening_it(
        self, connector: Connector, info: ConnectionInfo, key: VolumeKey
    ) -> None:
        for opened in (
            connector.open_source(info, size=GIB, key=key),
            connector.open_target(info, size=GIB, key=key),
            connector.open_device(info, size=GIB, key=key),
        ):
            with pytest.raises(NotEncryptedError), opened:
                pass
        with connector.open_source(info, size=GIB) as stored:
            assert read(stored, 0, 1 << 20) == bytes(1 << 20)

    def test_a_clone_opens_with_its_own_key(
        self, cloud: Cloud, connector: Connector, volume: Volume, key: VolumeKey
    ) -> None:
        with attached_to(cloud, connector, volume, Mode.WRITE) as attachment:
            assert attachment.connection is not None
            connector.encrypt(attachment.connection, size=GIB, key=key)
            with connector.open_target(attachment.connection, size=GIB, key=key) as target:
                target.write(AT, TEXT)
                target.flush()
        snapshot = cloud.create_snapshot(volume.id, name="frozen", metadata={})
        clone = cloud.create_clone(snapshot, name="clone", metadata={})
        own = cloud.get_key(encryption_of(cloud, clone))
        with attached_to(cloud, connector, clone, Mode.READ) as attachment:
            assert attachment.connection is not None
            with connector.open_source(attachment.connection, size=GIB, key=own) as source:
                assert read(source, AT, len(TEXT)) == TEXT
        cloud.delete_volume(clone.id)
        cloud.delete_snapshot(snapshot.id)


def read(source: BlockSource, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    return bytes(buffer)
