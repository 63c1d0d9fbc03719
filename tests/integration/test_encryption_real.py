"""The real Cinder and the real Barbican pass the contract; and no key is in what anybody logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from icebrick.cloud.base import VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.session import connect
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud
from icebrick.encryption import Encryption
from icebrick.errors import ResourceMissingError
from icebrick.testing.cloud_suite import MISSING
from icebrick.testing.encryption_contract import EncryptionContract, encryption_of

PACE = Pace(first=0.15, longest=0.4, work=60, settle=1, attempts=1)


@pytest.fixture(scope="module")
def logins(session_key_devcloud: Devcloud) -> Iterator[dict[str, CinderCloud]]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(session_key_devcloud.clouds_yaml))
        yield {user: stack.enter_context(closing(connect(user, pace=PACE))) for user in ("alice", "bob")}


@pytest.fixture
def cloud(key_devcloud: Devcloud, logins: dict[str, CinderCloud]) -> CinderCloud:
    return logins["alice"]


@pytest.fixture
def stranger(key_devcloud: Devcloud, logins: dict[str, CinderCloud]) -> CinderCloud:
    return logins["bob"]


class TestCinderEncryption(EncryptionContract):
    """With Barbican's simple crypto plugin."""


def test_a_key_is_in_no_log_however_detailed(cloud: CinderCloud, caplog: pytest.LogCaptureFixture) -> None:
    volume = cloud.create_volume(VolumeSpec("secret", 1, volume_type="luks"))
    with caplog.at_level(logging.DEBUG):
        passphrase = cloud.get_key(encryption_of(cloud, volume)).passphrase.reveal()
    cloud.delete_volume(volume.id)
    assert passphrase not in caplog.text
    assert repr(bytes.fromhex(passphrase)) not in caplog.text


def test_a_cloud_without_a_key_manager_has_no_keys(session_devcloud: Devcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(session_devcloud.clouds_yaml))
    with closing(connect("alice", pace=PACE)) as cloud, pytest.raises(ResourceMissingError, match="no key manager"):
        cloud.get_key(Encryption("luks", MISSING))
