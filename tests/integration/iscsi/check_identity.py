"""Whose a device is, with real iSCSI: targets of LIO, and storage that changes below a device of this host."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from icebrick.attach.brick import BrickConnector, BrickSettings
from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError

CONFIGFS = Path("/sys/kernel/config/target")
SIZE = 64 << 20
PORTAL = "127.0.0.1:3260"
NUMBERS = itertools.count(1)
MINE, OTHERS = b"mine" * 1024, b"others" * 1024


@dataclass(frozen=True)
class Store:
    """A file behind LIO, with a serial number of its own."""

    name: str
    path: Path

    @property
    def directory(self) -> Path:
        return CONFIGFS / "core" / "fileio_0" / self.name


@dataclass(frozen=True)
class Target:
    """One that shows one store as unit 1."""

    iqn: str

    @property
    def group(self) -> Path:
        return CONFIGFS / "iscsi" / self.iqn / "tpgt_1"

    def show(self, store: Store) -> None:
        self.hide()
        unit = self.group / "lun" / "lun_1"
        unit.mkdir()
        (unit / "store").symlink_to(store.directory)

    def hide(self) -> None:
        unit = self.group / "lun" / "lun_1"
        if unit.is_dir():
            (unit / "store").unlink()
            unit.rmdir()


@dataclass
class Storage:
    """What it makes goes at the end."""

    folder: Path
    undo: ExitStack

    def make_store(self, content: bytes) -> Store:
        number = next(NUMBERS)
        store = Store(f"store{number}", self.folder / f"store{number}")
        store.path.write_bytes(content)
        os.truncate(store.path, SIZE)
        store.directory.mkdir(parents=True)
        self.undo.callback(store.directory.rmdir)
        (store.directory / "control").write_text(f"fd_dev_name={store.path},fd_dev_size={SIZE}")
        (store.directory / "wwn" / "vpd_unit_serial").write_text(f"00000000-0000-4000-8000-{number:012x}")
        (store.directory / "enable").write_text("1")
        return store

    def make_target(self, store: Store) -> Target:
        target = Target(f"iqn.2026-01.org.icebrick:target{next(NUMBERS)}")
        portal = target.group / "np" / PORTAL
        portal.mkdir(parents=True)
        self.undo.callback(target.group.parent.rmdir)
        self.undo.callback(target.group.rmdir)
        self.undo.callback(portal.rmdir)
        for name, value in (("authentication", 0), ("generate_node_acls", 1), ("demo_mode_write_protect", 0)):
            (target.group / "attrib" / name).write_text(str(value))
        target.show(store)
        self.undo.callback(target.hide)
        (target.group / "enable").write_text("1")
        self.undo.callback((target.group / "enable").write_text, "0")
        return target


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    (CONFIGFS / "iscsi").mkdir(exist_ok=True)
    (CONFIGFS / "core" / "fileio_0").mkdir(exist_ok=True)
    with ExitStack() as undo:
        yield Storage(tmp_path, undo)


def connection(target: Target, volume_id: str = "") -> ConnectionInfo:
    told = {"target_iqn": target.iqn, "target_portal": PORTAL, "target_lun": 1, "target_discovered": False}
    return ConnectionInfo("iscsi", told, volume_id)


@pytest.fixture
def connector(storage: Storage, tmp_path: Path) -> Iterator[BrickConnector]:
    """With nothing connected before and after."""
    yield BrickConnector(BrickSettings(tmp_path / "state", ip="127.0.0.1"))
    assert disks() == []
    assert list(Path("/sys/class/iscsi_session").glob("session*")) == []


def disks() -> list[str]:
    return [path.name for path in Path("/sys/block").glob("sd*")]


def digest(store: Store) -> str:
    return subprocess.run(["sha256sum", store.path], check=True, capture_output=True, text=True).stdout.split()[0]


def log_in(target: Target) -> None:
    """As something else on this host would, until there is a disk."""
    for arguments in (["-o", "new"], ["--login"]):
        subprocess.run(["iscsiadm", "-m", "node", "-T", target.iqn, "-p", PORTAL, *arguments], check=True)
    end = time.monotonic() + 60
    while not disks():
        assert time.monotonic() < end, "no disk appears"
        time.sleep(0.1)


def test_a_real_unit_is_known_and_read(connector: BrickConnector, storage: Storage) -> None:
    target = storage.make_target(storage.make_store(MINE))
    found = bytearray(len(MINE))
    with connector.open_source(connection(target), size=SIZE) as source:
        source.read_into(0, memoryview(found))
        with (
            pytest.raises(AttachError, match="in use by another connection"),
            connector.open_target(connection(target), size=SIZE),
        ):
            pass
        connector.disconnect(connection(target))
        source.read_into(0, memoryview(found))
    assert found == MINE


def test_a_stale_device_behind_which_the_unit_was_exchanged_is_refused(
    connector: BrickConnector, storage: Storage
) -> None:
    mine, others = storage.make_store(MINE), storage.make_store(OTHERS)
    before = [digest(mine), digest(others)]
    target = storage.make_target(others)
    log_in(target)
    target.show(mine)  # the kernel goes on to take it for the one it has seen
    with (
        pytest.raises(AttachError, match="has become another disk"),
        connector.open_target(connection(target), size=SIZE) as opened,
    ):
        opened.write(0, b"x" * 4096)
    assert [digest(mine), digest(others)] == before


@pytest.mark.parametrize("mode", ["open_source", "open_target", "open_device"])
def test_answers_of_two_volumes_that_were_swapped_are_refused(
    connector: BrickConnector, storage: Storage, mode: str
) -> None:
    ids = [f"{number}1111111-0000-4000-8000-000000000001" for number in (1, 2)]
    stores = [storage.make_store(content) for content in (MINE, OTHERS)]
    targets = [storage.make_target(store) for store in stores]
    before = [digest(store) for store in stores]
    with ExitStack() as opened:
        for asked, told, target in zip(ids, reversed(ids), reversed(targets), strict=True):
            info = connection(target, asked)
            swapped = ConnectionInfo(info.driver_volume_type, {**info.data, "volume_id": told}, asked)
            with pytest.raises(AttachError, match=f"asked for volume {asked}"):
                opened.enter_context(getattr(connector, mode)(swapped, size=SIZE))
    assert [digest(store) for store in stores] == before
