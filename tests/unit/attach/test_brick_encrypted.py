"""What os-brick's encryptors are never let do, and what is left where they fail: no dm-crypt is needed for that."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icebrick.attach.brick import BrickConnector, BrickSettings
from icebrick.connection import ConnectionInfo
from icebrick.encryption import Encryption, VolumeKey
from icebrick.errors import AttachError, NotEncryptedError
from icebrick.secret import Secret
from icebrick.testing.loopdevice import loop_device

SIZE = 32 << 20
KEY = VolumeKey(Encryption("luks", "1f2e3d4c-5b6a-4789-8a9b-0c1d2e3f4a5b", "aes-xts-plain64", 256), Secret("0f" * 32))
WRONG = replace(KEY, passphrase=Secret("f0" * 32))


@pytest.fixture
def connector(tmp_path: Path) -> BrickConnector:
    return BrickConnector(BrickSettings(tmp_path / "state", ip="127.0.0.1"))


@pytest.fixture
def backing(tmp_path: Path, require: Callable[[str, Any, str], None]) -> Path:
    require("root", os.geteuid() == 0, "loop devices need root")
    require("cryptsetup", shutil.which("cryptsetup", path="/usr/sbin:/sbin"), "cryptsetup is not installed")
    path = tmp_path / "volume"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


@pytest.fixture
def info(backing: Path) -> Iterator[ConnectionInfo]:
    with loop_device(backing) as path:
        yield ConnectionInfo("local", {"device_path": path, "encrypted": True})


def noted(tmp_path: Path) -> list[str]:
    """Mappings that there may be."""
    folder = tmp_path / "state" / "decrypted"
    return [path.name for path in folder.glob("*") if path.suffix != ".lock"] if folder.exists() else []


def test_a_device_without_a_header_is_refused_and_stays_as_it_is(
    connector: BrickConnector, info: ConnectionInfo, backing: Path, tmp_path: Path
) -> None:
    for opened in (
        connector.open_source(info, size=SIZE, key=KEY),
        connector.open_target(info, size=SIZE, key=KEY),
        connector.open_device(info, size=SIZE, key=KEY),
    ):
        with pytest.raises(NotEncryptedError, match="no LUKS header"), opened:
            pass
    assert backing.read_bytes() == bytes(SIZE)
    assert noted(tmp_path) == []


def test_a_key_that_does_not_fit_is_an_error_without_it_and_leaves_nothing(
    connector: BrickConnector, info: ConnectionInfo, backing: Path, tmp_path: Path
) -> None:
    device = str(info.data["device_path"])
    command = ["/usr/sbin/cryptsetup", "luksFormat", "--batch-mode", "--type=luks1", "--pbkdf-force-iterations=1000"]
    subprocess.run([*command, "--key-file=-", device], check=True, input=KEY.passphrase.reveal().encode())
    before = backing.read_bytes()
    with pytest.raises(AttachError) as told, connector.open_target(info, size=SIZE, key=WRONG):
        pass
    assert "cryptsetup ended with" in str(told.value)
    assert WRONG.passphrase.reveal() not in f"{told.value} {told.value.__cause__!r}"
    connector.disconnect(info)
    assert noted(tmp_path) == []
    assert backing.read_bytes() == before
    assert os.path.realpath(device) == device
