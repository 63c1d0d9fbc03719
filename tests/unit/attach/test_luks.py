"""LUKS containers in files, made by the real cryptsetup, which needs no dm-crypt for any of this."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icebrick.attach.device import create_image, open_image
from icebrick.attach.luks import change_passphrase, close_mapping, has_header, opens_with, wipe_header
from icebrick.errors import AttachError
from icebrick.secret import Secret

OLD, NEW = Secret("0123456789abcdef" * 4), Secret("fedcba9876543210" * 4)
CHEAP = {"luks1": ["--pbkdf-force-iterations=1000"], "luks2": ["--pbkdf-force-iterations=4", "--pbkdf-memory=32"]}


@pytest.fixture
def cryptsetup(require: Callable[[str, Any, str], None]) -> str:
    path = next(
        (folder / "cryptsetup" for folder in map(Path, ("/usr/sbin", "/sbin")) if (folder / "cryptsetup").exists()),
        None,
    )
    require("cryptsetup", path, "cryptsetup is not installed")
    return str(path)


@pytest.fixture(params=["luks1", "luks2"])
def container(request: pytest.FixtureRequest, tmp_path: Path, cryptsetup: str) -> Path:
    path = tmp_path / "device"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    command = [cryptsetup, "luksFormat", "--batch-mode", "--type", request.param, "--key-file=-", *CHEAP[request.param]]
    subprocess.run([*command, str(path)], check=True, input=OLD.reveal().encode())
    return path


def test_only_the_right_passphrase_opens_a_container(container: Path) -> None:
    assert opens_with(str(container), OLD)
    assert not opens_with(str(container), NEW)


def test_a_changed_passphrase_opens_in_place_of_the_old_one(container: Path) -> None:
    change_passphrase(str(container), OLD, NEW)
    assert opens_with(str(container), NEW)
    assert not opens_with(str(container), OLD)


def test_a_passphrase_is_not_changed_by_who_does_not_know_it(container: Path) -> None:
    with pytest.raises(AttachError, match="luksChangeKey failed with code 2") as told:
        change_passphrase(str(container), NEW, OLD)
    assert not any(secret.reveal() in str(told.value) for secret in (OLD, NEW))
    assert opens_with(str(container), OLD)


def test_a_container_is_known_by_its_header_until_that_is_wiped(container: Path) -> None:
    with open_image(container) as source:
        assert has_header(source)
    content = container.read_bytes()
    with create_image(container, len(content), replace=True) as target:
        target.write(0, content)
        wipe_header(target)
        assert not has_header(target)
    with pytest.raises(AttachError, match="not a valid LUKS device"):
        opens_with(str(container), OLD)


def test_what_is_no_container_has_no_header(tmp_path: Path) -> None:
    with create_image(tmp_path / "small", 4096) as target:
        assert not has_header(target)
        wipe_header(target)


def test_a_mapping_that_is_not_there_is_closed(cryptsetup: str) -> None:
    close_mapping("crypt-icebrick-never")
