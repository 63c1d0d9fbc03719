"""os-brick's encryptors, with the real Cinder and Barbican, on a kernel that has dm-crypt: in the laboratory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from icebrick.attach.brick import BrickConnector, BrickSettings
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.session import connect
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud
from icebrick.testing.decryption_contract import DecryptionContract

PACE = Pace(first=0.02, longest=0.2, work=60, settle=1, attempts=1)


@pytest.fixture(scope="module", autouse=True)
def _dm_crypt(require: Callable[[str, Any, str], None]) -> None:
    subprocess.run(["modprobe", "dm_crypt"], check=False)
    require("dm-crypt", Path("/sys/module/dm_crypt").exists(), "the kernel has no dm-crypt")
    require("dm-crypt", shutil.which("cryptsetup"), "cryptsetup is not installed")


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
