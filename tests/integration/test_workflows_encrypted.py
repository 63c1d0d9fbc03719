"""Encrypted volumes with the real Cinder and Barbican: as they are stored, and decrypted where there is dm-crypt."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import COMMAND
from tests.integration.agent import MIB, Agent
from tests.integration.luks import CHEAP, cryptsetup, key_of, mappings, opened, opens, stored

from icebrick.attach.brick import BrickConnector, BrickSettings
from icebrick.cloud.base import VolumeSpec
from icebrick.cloud.cinder import CinderCloud
from icebrick.cloud.session import connect
from icebrick.cloud.wait import Pace
from icebrick.devcloud.devcloud import Devcloud

PACE = Pace(first=0.02, longest=0.2, work=120, settle=30, attempts=1)
WAIT_SECONDS = 120.0


@pytest.fixture(autouse=True)
def _cryptsetup(require: Callable[[str, Any, str], None]) -> None:
    require("cryptsetup", shutil.which("cryptsetup"), "cryptsetup is not installed")


@pytest.fixture
def dm_crypt(require: Callable[[str, Any, str], None]) -> None:
    require("dm-crypt", Path("/sys/module/dm_crypt").exists(), "the kernel has no dm-crypt")


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


def backed_up(agent: Agent, volume_id: str, *arguments: str) -> dict[str, Any]:
    report = agent.succeed("backup", "--json", "--single-volume-id", volume_id, *arguments).record()
    assert report["leftovers"] == []
    return dict(report["backups"][0])


def test_encrypted_data_go_out_and_come_back_as_they_are_stored(
    agent: Agent,
    cloud: CinderCloud,
    connector: BrickConnector,
    volume_id: str,
    login: Callable[..., Any],
    devcloud: Devcloud,
) -> None:
    data = os.urandom(MIB)
    with stored(cloud, connector, volume_id) as device:
        write(device, 32 * MIB, data)
    old = key_of(cloud, volume_id)
    saved = backed_up(agent, volume_id, "--encrypted-volumes", "as-stored")
    assert (saved["encryption"]["form"], saved["encryption"]["encryption"]["key_id"]) == (
        "as-stored",
        old.encryption.key_id,
    )

    copy = agent.restore(volume_id, "--verify")
    assert (copy["way"], copy["encryption"]["needed_key_id"]) == ("copy", None)
    with stored(cloud, connector, copy["volume_id"]) as device:
        assert opens(device, key_of(cloud, copy["volume_id"]))
        assert read(device, 32 * MIB, MIB) == data

    # A new volume, while the old one's key can still be had.
    admin = login(devcloud, "anna")
    assert admin.request("POST", f"/volumes/{volume_id}/action", {"os-reset_status": {"status": "error"}})[0] == 202
    new = agent.restore(volume_id, "--verify", "--recreate-vol-on-error")
    assert (new["way"], new["encryption"]["needed_key_id"]) == ("new", None)
    with stored(cloud, connector, new["volume_id"]) as device:
        assert opens(device, key_of(cloud, new["volume_id"]))
        assert not opens(device, old)
        assert read(device, 32 * MIB, MIB) == data

    # And when Cinder has deleted it with its volume.
    cloud.delete_volume(volume_id)
    told = agent.restore(volume_id)
    assert told["encryption"]["needed_key_id"] == old.encryption.key_id
    with stored(cloud, connector, told["volume_id"]) as device:
        assert opens(device, old)


def test_the_image_of_what_is_in_a_luks_volume_goes_out_and_comes_back(
    dm_crypt: None, agent: Agent, cloud: CinderCloud, connector: BrickConnector, volume_id: str
) -> None:
    data = os.urandom(MIB)
    with stored(cloud, connector, volume_id) as device, opened(device, key_of(cloud, volume_id)) as inside:
        write(inside, 3 * MIB, data)
    saved = backed_up(agent, volume_id, "--encrypted-volumes", "decrypt", "--mode", "blocks")
    assert (saved["encryption"]["form"], saved["size"]) == ("decrypted", 1024 * MIB - 2 * MIB)
    again = backed_up(agent, volume_id, "--mode", "blocks")
    assert (again["parent_id"], again["digest"]) == (saved["snapshot_id"], saved["digest"])
    cloud.delete_volume(volume_id)
    new = agent.restore(volume_id, "--verify")
    own = key_of(cloud, new["volume_id"])
    with stored(cloud, connector, new["volume_id"]) as device, opened(device, own) as inside:
        assert read(inside, 3 * MIB, MIB) == data
    assert mappings() == []


def test_files_in_a_luks_volume_go_out_and_come_back_and_no_key_is_told(
    dm_crypt: None, agent: Agent, cloud: CinderCloud, connector: BrickConnector, volume_id: str, tmp_path: Path
) -> None:
    data = os.urandom(MIB)
    old = key_of(cloud, volume_id)
    with stored(cloud, connector, volume_id) as device, opened(device, old) as inside:
        subprocess.run(["mkfs.ext4", "-q", inside], check=True)
        with mounted(inside, tmp_path / "mounted") as root:
            (root / "file").write_bytes(data)
    with watched_arguments() as seen:
        decrypt = ("--encrypted-volumes", "decrypt", "--mode", "files")
        ran = agent.succeed("backup", "-vv", "--json", "--single-volume-id", volume_id, *decrypt)
        (saved,) = ran.record()["backups"]
        assert (saved["encryption"]["form"], saved["mode"]) == ("decrypted", "files")
        copy = agent.restore(volume_id, "--verify")
        cloud.delete_volume(volume_id)
        new = agent.restore(volume_id, "--verify", "--map-type", "luks=luks2")
    assert (copy["way"], new["way"]) == ("copy", "new")
    for restored in (copy, new):
        own = key_of(cloud, restored["volume_id"])
        with (
            stored(cloud, connector, restored["volume_id"]) as device,
            opened(device, own) as inside,
            mounted(inside, tmp_path / "mounted") as root,
        ):
            assert (root / "file").read_bytes() == data
    with stored(cloud, connector, new["volume_id"]) as device:
        assert not opens(device, old)
    assert mappings() == []

    assert any(b"luksOpen" in arguments for arguments in seen.all)
    for key in (old, key_of(cloud, copy["volume_id"]), key_of(cloud, new["volume_id"])):
        secret = key.passphrase.reveal()
        for form in (secret.encode(), bytes.fromhex(secret)):
            assert not any(form in arguments for arguments in seen.all)
            assert form not in (ran.out + ran.err).encode()
            assert [path for path in files_of(tmp_path) if form in path.read_bytes()] == []


def test_a_killed_backup_leaves_nothing_decrypted(
    dm_crypt: None, agent: Agent, cloud: CinderCloud, connector: BrickConnector, volume_id: str
) -> None:
    with stored(cloud, connector, volume_id) as device, opened(device, key_of(cloud, volume_id)) as inside:
        write(inside, 0, os.urandom(16 * MIB))
    command = [*COMMAND, "--limit-upload", "100K", "backup", "--single-volume-id", volume_id, "--mode", "blocks"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + WAIT_SECONDS
            while not has_open(process.pid, ("/dev/dm-", "/dev/mapper/crypt-icebrick-")):  # with udev, and without
                assert time.monotonic() < end, "the backup opens nothing"
                assert process.poll() is None, "the backup has ended"
                time.sleep(0.05)
        finally:
            process.kill()
    assert mappings() != []
    agent.succeed("cleanup")
    assert mappings() == []
    assert [volume.id for volume in cloud.volumes()] == [volume_id]
    assert list(cloud.snapshots()) == []


@contextmanager
def mounted(device: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", device, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def has_open(pid: int, beginning: tuple[str, ...]) -> bool:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(link).startswith(beginning):
                return True
    return False


@dataclass
class Seen:
    """Arguments of all processes that were met."""

    all: set[bytes] = field(default_factory=set)


@contextmanager
def watched_arguments() -> Iterator[Seen]:
    """Of everything that runs meanwhile; cryptsetup runs for a second where it checks a passphrase."""
    seen, done = Seen(), threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    try:
                        seen.all.add((process / "cmdline").read_bytes())
                    except OSError:
                        continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


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
