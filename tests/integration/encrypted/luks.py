"""Encrypted volumes as somebody sees them who has nothing but the key and cryptsetup."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.agent import Agent

from icebrick.attach.base import Connector
from icebrick.cloud.base import Cloud, Mode
from icebrick.encryption import VolumeKey
from icebrick.testing.cloud_suite import GIB, attached_to
from icebrick.testing.encryption_contract import encryption_of

CHEAP = ("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000")
"""A passphrase of 256 random bits needs no slow check."""


def key_of(cloud: Cloud, volume_id: str) -> VolumeKey:
    return cloud.get_key(encryption_of(cloud, cloud.get_volume(volume_id)))


def cryptsetup(*arguments: str, key: VolumeKey | None = None) -> int:
    command = ["cryptsetup", "--batch-mode", *arguments, *(() if key is None else ("--key-file=-",))]
    told = b"" if key is None else key.passphrase.reveal().encode()
    return subprocess.run(command, check=False, input=told, capture_output=True).returncode


def opens(device: str, key: VolumeKey) -> bool:
    return cryptsetup("open", "--test-passphrase", device, key=key) == 0


@contextmanager
def stored(cloud: Cloud, connector: Connector, volume_id: str) -> Iterator[str]:
    """The device of a volume, with what is stored in it."""
    volume = cloud.get_volume(volume_id)
    with attached_to(cloud, connector, volume, Mode.WRITE) as attachment:
        assert attachment.connection is not None
        with connector.open_device(attachment.connection, size=volume.size * GIB) as device:
            assert device.block_path is not None
            yield device.block_path


@contextmanager
def opened(device: str, key: VolumeKey) -> Iterator[Path]:
    """What is in it; needs dm-crypt."""
    assert cryptsetup("open", device, "judge", key=key) == 0
    try:
        yield Path("/dev/mapper/judge")
    finally:
        assert cryptsetup("close", "judge") == 0


def mappings() -> list[str]:
    """Decrypted devices of this host, whoever opened them."""
    return sorted(name for name in os.listdir("/dev/mapper") if name.startswith(("crypt-", "judge")))


def backed_up(agent: Agent, volume_id: str, *arguments: str) -> dict[str, Any]:
    report = agent.succeed("backup", "--json", "--single-volume-id", volume_id, *arguments).record()
    assert report["leftovers"] == []
    return dict(report["backups"][0])


def write(device: str | Path, offset: int, data: bytes) -> None:
    with open(device, "r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read(device: str | Path, offset: int, length: int) -> bytes:
    with open(device, "rb") as file:
        file.seek(offset)
        return file.read(length)
