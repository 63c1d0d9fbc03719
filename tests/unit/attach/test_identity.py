"""Devices as sysfs shows them, in trees laid out as Linux does, and as SCSI disks tell of themselves.

What real disks say is tested in the laboratory, `tests/integration/iscsi/check_identity.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from icebrick.attach.identity import MOST_ROUNDED, Kernel, check_block_device, check_device
from icebrick.attach.scsi import Disk, names_in
from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError

VOLUME = "11111111-0000-4000-8000-000000000001"
IQN, OTHER_IQN = "iqn.2010-10.org.openstack:volume-1", "iqn.2010-10.org.openstack:volume-2"
PORT = "50060160bea00001"
SIZE = 1 << 30
NAA, OTHER_NAA = bytes.fromhex("6001405aabbccdd0"), bytes.fromhex("6001405aabbccdd1")


def page(naa: bytes) -> bytes:
    """VPD page 83h: the unit's name, and that of the port, which is no name of the unit's."""
    unit = b"\x01\x03\x00" + bytes([len(naa)]) + naa
    port = b"\x01\x14\x00\x04\0\0\0\x01"
    return b"\0\x83" + len(unit + port).to_bytes(2, "big") + unit + port


@dataclass
class Host:
    """Its sysfs, and what the disks say. Devices have the numbers 8:0, 8:16, ..."""

    sysfs: Path
    disks: dict[str, Disk] = field(default_factory=dict)

    @property
    def kernel(self) -> Kernel:
        return Kernel(self.sysfs, self.disks.__getitem__)

    def write(self, path: Path, content: str | bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def block(self, name: str, number: str, place: str) -> Path:
        device = self.sysfs / "devices" / place / "block" / name
        device.mkdir(parents=True)
        self.write(device / "dev", f"{number}\n")
        self.write(device / "size", f"{SIZE // 512}\n")
        link = self.sysfs / "dev" / "block" / number
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(device)
        return device

    def disk(self, name: str, number: str, place: str, *, naa: bytes = NAA) -> Path:
        device = self.block(name, number, place)
        (device / "device").symlink_to(self.sysfs / "devices" / place)
        self.write(self.sysfs / "devices" / place / "vpd_pg83", page(naa))
        self.disks[name] = Disk(names_in(page(naa)), SIZE)
        return device

    def iscsi(self, name: str, number: str, session: int, *, iqn: str = IQN, lun: int = 1, naa: bytes = NAA) -> Path:
        place = f"platform/host{session}/session{session}/target{session}:0:0/{session}:0:0:{lun}"
        self.write(self.sysfs / "class/iscsi_session" / f"session{session}" / "targetname", f"{iqn}\n")
        return self.disk(name, number, place, naa=naa)

    def fibre_channel(self, name: str, number: str, host: int, *, port: str = PORT, lun: int = 1) -> Path:
        self.write(self.sysfs / "class/fc_transport" / f"target{host}:0:0" / "port_name", f"0x{port}\n")
        return self.disk(name, number, f"pci/host{host}/rport-{host}:0-0/target{host}:0:0/{host}:0:0:{lun}")

    def multipath(self, *paths: Path, uuid: str = "mpath-36001405") -> None:
        device = self.block("dm-0", "253:0", "virtual")
        self.write(device / "dm" / "uuid", f"{uuid}\n")
        (device / "slaves").mkdir()
        for path in paths:
            (device / "slaves" / path.name).symlink_to(path)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "sys")


Check = Callable[[str, ConnectionInfo], None]


@pytest.fixture
def check(host: Host) -> Check:
    """Of a device by its number."""
    return lambda number, info: check_block_device(os.makedev(*map(int, number.split(":"))), info, host.kernel)


def iscsi(**more: Any) -> ConnectionInfo:
    return ConnectionInfo("iscsi", {"target_iqn": IQN, "target_lun": 1, **more}, VOLUME)


def test_the_unit_that_the_connection_names_is_accepted(host: Host, check: Check) -> None:
    host.iscsi("sda", "8:0", 1)
    check("8:0", iscsi())


@pytest.mark.parametrize(("iqn", "lun"), [(OTHER_IQN, 1), (IQN, 2)])
def test_another_target_or_number_is_refused(host: Host, check: Check, iqn: str, lun: int) -> None:
    host.iscsi("sda", "8:0", 1, iqn=iqn, lun=lun)
    with pytest.raises(AttachError, match=f"sda is unit {lun} of target {iqn}, not unit 1 of target {IQN}"):
        check("8:0", iscsi())


def test_a_disk_of_this_host_is_no_unit_of_a_storage(host: Host, check: Check) -> None:
    host.disk("sda", "8:0", "pci/host0/target0:0:0/0:0:0:1")
    with pytest.raises(AttachError, match="no unit of such storage"):
        check("8:0", iscsi())


def test_what_is_no_scsi_disk_is_refused_where_one_is_named(host: Host, check: Check) -> None:
    host.block("loop0", "7:0", "virtual")
    with pytest.raises(AttachError, match="loop0 is no SCSI disk"):
        check("7:0", iscsi())


def test_a_fibre_channel_port_is_compared_whatever_its_case(host: Host, check: Check) -> None:
    host.fibre_channel("sda", "8:0", 3)
    named = {"target_wwn": [PORT.upper()], "target_lun": 1}
    check("8:0", ConnectionInfo("fibre_channel", named))
    with pytest.raises(AttachError, match="sda is unit 1 of target"):
        check("8:0", ConnectionInfo("fibre_channel", {**named, "target_wwn": ["50060160bea00002"]}))


def test_every_path_below_a_multipath_map_must_be_listed(host: Host, check: Check) -> None:
    host.multipath(host.iscsi("sda", "8:0", 1), host.iscsi("sdb", "8:16", 2, iqn=OTHER_IQN))
    check("253:0", iscsi(target_iqns=[IQN, OTHER_IQN], target_luns=[1, 1]))
    with pytest.raises(AttachError, match=f"sdb is unit 1 of target {OTHER_IQN}"):
        check("253:0", iscsi(target_iqns=[IQN], target_luns=[1]))


def test_paths_that_discovery_found_may_have_other_names_but_not_all(host: Host, check: Check) -> None:
    host.multipath(host.iscsi("sda", "8:0", 1), host.iscsi("sdb", "8:16", 2, iqn=OTHER_IQN))
    check("253:0", iscsi())
    with pytest.raises(AttachError, match="not unit 1"):
        check("253:0", iscsi(target_iqn="iqn.third"))


def test_paths_to_different_disks_are_refused(host: Host, check: Check) -> None:
    host.multipath(host.iscsi("sda", "8:0", 1), host.iscsi("sdb", "8:16", 2, naa=OTHER_NAA))
    with pytest.raises(AttachError, match="the paths of dm-0 lead to different devices"):
        check("253:0", iscsi())


def test_a_map_without_paths_is_refused(host: Host, check: Check) -> None:
    host.multipath()
    with pytest.raises(AttachError, match="no path"):
        check("253:0", iscsi())


def test_a_disk_that_has_become_another_is_refused(host: Host, check: Check) -> None:
    host.iscsi("sda", "8:0", 1)
    host.disks["sda"] = Disk(names_in(page(OTHER_NAA)), SIZE)
    with pytest.raises(AttachError, match="sda has become another disk"):
        check("8:0", iscsi())


def test_a_disk_that_has_another_size_now_is_refused(host: Host, check: Check) -> None:
    host.iscsi("sda", "8:0", 1)
    host.disks["sda"] = Disk(names_in(page(NAA)), 2 * SIZE)
    with pytest.raises(AttachError, match=f"sda has {2 * SIZE} bytes now, and had {SIZE}"):
        check("8:0", iscsi())


def test_a_disk_without_names_is_known_by_its_place_alone(host: Host, check: Check) -> None:
    device = host.iscsi("sda", "8:0", 1)
    (device / "device" / "vpd_pg83").unlink()
    host.disks["sda"] = Disk(frozenset(), SIZE)
    check("8:0", iscsi())


def test_an_nvme_namespace_is_compared_by_all_that_is_known(host: Host, check: Check) -> None:
    device = host.block("nvme0n1", "259:0", "virtual")
    host.write(device / "device" / "subsysnqn", "nqn.a\n")
    host.write(device / "uuid", f"{VOLUME}\n")
    host.write(device / "nguid", "00000000-0000-0000-0000-000000000000\n")
    right = {"target_nqn": "nqn.a", "vol_uuid": VOLUME, "volume_nguid": "6000"}
    check("259:0", ConnectionInfo("nvmeof", right))
    for wrong in ({"target_nqn": "nqn.b"}, {"vol_uuid": VOLUME.replace("1", "3")}):
        with pytest.raises(AttachError, match="nvme0n1 is"):
            check("259:0", ConnectionInfo("nvmeof", {**right, **wrong}))


def test_a_local_device_over_another_volumes_file_is_refused(host: Host, check: Check) -> None:
    device = host.block("loop0", "7:0", "virtual")
    host.write(device / "loop" / "backing_file", f"/pool/volume-{VOLUME}\n")
    local = ConnectionInfo("local", {"device_path": "/dev/loop0"}, VOLUME)
    check("7:0", local)
    host.write(device / "loop" / "backing_file", f"/pool/volume-{VOLUME.replace('1', '3')}\n")
    with pytest.raises(AttachError, match="the storage showed"):
        check("7:0", local)


def test_a_device_that_the_kernel_does_not_know_is_an_attach_error(check: Check) -> None:
    with pytest.raises(AttachError, match="does not know block device 8:0"):
        check("8:0", iscsi())


@pytest.mark.parametrize(("more", "refused"), [(MOST_ROUNDED, False), (MOST_ROUNDED + 1, True)])
def test_a_device_is_larger_only_by_what_storage_rounds_up(tmp_path: Path, *, more: int, refused: bool) -> None:
    image = tmp_path / "volume"
    with image.open("wb+") as file:
        file.truncate(SIZE + more)
        if refused:
            with pytest.raises(AttachError, match="it is another's"):
                check_device(file.fileno(), ConnectionInfo("local", {}), SIZE)
        else:
            assert check_device(file.fileno(), ConnectionInfo("local", {}), SIZE).startswith("file ")


@pytest.mark.parametrize("cut", range(0, 30, 3))
def test_names_in_a_page_that_breaks_off_are_none_or_whole(cut: int) -> None:
    assert names_in(page(NAA)[:cut]) <= {f"naa.{NAA.hex()}"}
    assert names_in(page(NAA)) == {f"naa.{NAA.hex()}"}
