"""A devcloud with Barbican, and an encrypted volume in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import LOOK_SECONDS
from tests.integration.encrypted.luks import CHEAP, cryptsetup, key_of, stored

from icebrick.attach.brick import BrickConnector, BrickSettings
from icebrick.cloud.base import VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.session import connect
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud

PACE = Pace(first=LOOK_SECONDS, longest=0.4, work=120, settle=30, attempts=1)


@pytest.fixture(autouse=True)
def _cryptsetup(require: Callable[[str, Any, str], None]) -> None:
    require("cryptsetup", shutil.which("cryptsetup"), "cryptsetup is not installed")


@pytest.fixture
def devcloud(key_devcloud: Devcloud) -> Devcloud:
    """That of all fixtures here."""
    return key_devcloud


@pytest.fixture
def cloud(devcloud: Devcloud) -> Iterator[CinderCloud]:
    """Alice. At the end of a test, all that she has is removed."""
    with closing(connect("alice", pace=PACE)) as cloud:
        yield cloud
        for snapshot in cloud.snapshots():
            cloud.delete_snapshot(snapshot.id)
        for volume in cloud.volumes():
            cloud.delete_volume(volume.id)


@pytest.fixture
def connector(tmp_path: Path) -> BrickConnector:
    return BrickConnector(BrickSettings(tmp_path / "judge", ip="127.0.0.1"))


@pytest.fixture
def volume_id(cloud: CinderCloud, connector: BrickConnector) -> str:
    """Of an encrypted volume with a header, but nothing in it."""
    made = cloud.create_volume(VolumeSpec("secret", 1, volume_type="luks")).id
    with stored(cloud, connector, made) as device:
        assert cryptsetup("luksFormat", "--type=luks1", *CHEAP, device, key=key_of(cloud, made)) == 0
    return made
