"""Encrypted volumes with the real Cinder and Barbican, decrypted: for the laboratory's guest, which has dm-crypt."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.conftest import COMMAND
from tests.integration.agent import MIB, Agent
from tests.integration.encrypted.luks import backed_up, key_of, mappings, opened, opens, read, stored, write

from icebrick.attach.brick import BrickConnector
from icebrick.cloud.cinder import CinderCloud

WAIT_SECONDS = 120.0


def test_the_image_of_what_is_in_a_luks_volume_goes_out_and_comes_back(
    agent: Agent, cloud: CinderCloud, connector: BrickConnector, volume_id: str
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
    agent: Agent, cloud: CinderCloud, connector: BrickConnector, volume_id: str, tmp_path: Path
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
    agent: Agent, cloud: CinderCloud, connector: BrickConnector, volume_id: str
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
