"""os-brick's encryptors, with the real Cinder and Barbican, on a kernel that has dm-crypt: the laboratory's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.conftest import LOOK_SECONDS

from icebrick.attach.brick import BrickConnector, BrickSettings
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.session import connect
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud
from icebrick.testing.decryption_contract import DecryptionContract

PACE = Pace(first=LOOK_SECONDS, longest=0.4, work=60, settle=1, attempts=1)


@pytest.fixture(scope="module")
def alice(session_key_devcloud: Devcloud) -> Iterator[CinderCloud]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(session_key_devcloud.clouds_yaml))
        with closing(connect("alice", pace=PACE)) as cloud:
            yield cloud


@pytest.fixture
def cloud(key_devcloud: Devcloud, alice: CinderCloud) -> CinderCloud:
    return alice


@pytest.fixture
def connector(tmp_path: Path) -> BrickConnector:
    return BrickConnector(BrickSettings(tmp_path / "state", ip="127.0.0.1"))


class TestBrickDecryption(DecryptionContract):
    """With cryptsetup."""
