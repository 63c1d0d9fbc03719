"""Is the device that came of a connection the one that the connection names? Asked before anything is read or written.

Everything is looked up by the number of an open device, below sysfs (Linux: Documentation/ABI) or by asking the device.
No name in /dev is believed. Decision record: docs/design/decisions/0018-device-identity.md.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from icebrick.attach.named import (
    HINT,
    Unit,
    check_name,
    hex_digits,
    is_fibre_channel,
    is_iscsi,
    lists_all_targets,
    namespace_of,
    plain_number,
    units_of,
)
from icebrick.attach.scsi import Disk, ask_disk, names_in
from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError

_LOG = logging.getLogger(__name__)

MOST_ROUNDED = 8 << 30
"""The coarsest steps in which storage makes volumes; what is larger by more was not made for this volume."""

_SYSFS = Path("/sys")
_SECTOR = 512
_ADDRESS = re.compile(r"(\d+:\d+:\d+):(\d+)")
"""Of a SCSI device: host, channel, target; unit."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where the kernel shows its devices, and how a SCSI disk of a name is asked what it is."""

    sysfs: Path = _SYSFS
    ask: Callable[[str], Disk] = lambda name: ask_disk(f"/dev/{name}")


def check_device(fd: int, info: ConnectionInfo, size: int) -> str:
    """AttachError unless the open device is what the connection, to a volume of `size` bytes, names.

    Gives what the device is known by on this host: no two connections may lead to one.
    """
    _check_size(fd, size)
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        check_name(info, os.path.realpath(f"/proc/self/fd/{fd}"))
        return f"file {status.st_dev}:{status.st_ino}"
    check_block_device(status.st_rdev, info, Kernel())
    return f"device {os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def check_block_device(number: int, info: ConnectionInfo, kernel: Kernel) -> None:
    """The same by the device's number, which must not change meanwhile, and without its size."""
    device = block_directory(kernel.sysfs, number)
    if info.driver_volume_type == "local":
        check_name(info, _text(device / "loop" / "backing_file"))
    _check_namespace(device, info)
    _check_units(device, info, kernel)


def block_directory(sysfs: Path, number: int) -> Path:
    """Of the block device of this number."""
    try:
        return (sysfs / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True)
    except OSError as error:
        raise AttachError(f"the kernel does not know block device {os.major(number)}:{os.minor(number)}") from error


def paths_of(device: Path) -> list[Path]:
    """The devices that are the ways to one with several of them (multipath, which dm/uuid tells); else itself."""
    if not _text(device / "dm" / "uuid").startswith("mpath-"):
        return [device]
    paths = [slave.resolve() for slave in sorted((device / "slaves").iterdir())]
    if not paths:
        raise AttachError(f"{device.name} has no path to its storage", hint=HINT)
    return paths


def unit_of(sysfs: Path, disk: Path) -> Unit | None:
    """Where a SCSI disk is: by its iSCSI session or its Fibre Channel port; None when by neither."""
    place = (disk / "device").resolve()
    address = _ADDRESS.fullmatch(place.name)
    if address is None:
        return None
    port = _text(sysfs / "class" / "fc_transport" / f"target{address[1]}" / "port_name")
    session = next((part for part in place.parts if re.fullmatch(r"session\d+", part)), "")
    target = port.removeprefix("0x") or (
        _text(sysfs / "class" / "iscsi_session" / session / "targetname") if session else ""
    )
    return Unit(target.lower(), plain_number(int(address[2]))) if target else None


def _check_size(fd: int, size: int) -> None:
    """Too small is told when it is opened, too large here: what storage rounds up is a little more."""
    actual = os.lseek(fd, 0, os.SEEK_END)
    if actual - size > MOST_ROUNDED:
        raise AttachError(f"the device has {actual} bytes, and the volume {size}: it is another's", hint=HINT)


def _check_units(device: Path, info: ConnectionInfo, kernel: Kernel) -> None:
    """Every way leads to one unit, which is what the kernel takes it for, and is named by the connection."""
    disks = [path for path in paths_of(device) if _is_scsi(path)]
    if not disks:
        if is_iscsi(info) or is_fibre_channel(info):
            raise AttachError(f"{device.name} is no SCSI disk", hint=HINT)
        return
    _check_places(disks, info, kernel)
    names = [_fresh_names(disk, kernel) for disk in disks]
    if any(each != names[0] for each in names):
        raise AttachError(f"the paths of {device.name} lead to different devices", hint=HINT)


def _check_places(disks: list[Path], info: ConnectionInfo, kernel: Kernel) -> None:
    named = units_of(info)
    if not named:
        return
    found = {disk.name: unit_of(kernel.sysfs, disk) for disk in disks}
    wrong = {name: unit for name, unit in found.items() if unit not in named}
    if len(wrong) == len(disks) or (wrong and lists_all_targets(info)):
        name, unit = next(iter(wrong.items()))
        asked = ", ".join(sorted(map(str, named)))
        raise AttachError(f"{name} is {unit or 'no unit of such storage'}, not {asked}", hint=HINT)


def _fresh_names(disk: Path, kernel: Kernel) -> frozenset[str]:
    """As the disk tells them now, which must be what the kernel was told when it found the disk."""
    fresh = kernel.ask(disk.name)
    try:
        known = names_in((disk / "device" / "vpd_pg83").read_bytes())
    except OSError:  # a disk without; the kernel does not ask old ones
        known = frozenset()
    if known and known != fresh.names:
        raise AttachError(f"{disk.name} has become another disk since this host found it", hint=HINT)
    size = int(_text(disk / "size") or 0) * _SECTOR
    if size != fresh.size:
        message = f"{disk.name} has {fresh.size} bytes now, and had {size} when this host found it"
        raise AttachError(message, hint=HINT)
    _LOG.debug("disk=%s names=%s size=%d", disk.name, ",".join(sorted(fresh.names)), fresh.size)
    return fresh.names


def _check_namespace(device: Path, info: ConnectionInfo) -> None:
    """What the kernel shows of an NVMe namespace is asked of it anew whenever it tells that it has changed."""
    named = namespace_of(info)
    if named is None or not device.name.startswith("nvme"):
        return
    subsystem = _text(device / "device" / "subsysnqn")
    if named.subsystem and subsystem and subsystem != named.subsystem:
        raise AttachError(f"{device.name} is of subsystem {subsystem}, not of {named.subsystem}", hint=HINT)
    for attribute, wanted in (("uuid", named.uuid), ("nguid", named.nguid)):
        found = hex_digits(_text(device / attribute))
        if wanted and found.strip("0") and found != wanted:
            raise AttachError(f"{device.name} is namespace {found}, not {wanted}", hint=HINT)


def _is_scsi(disk: Path) -> bool:
    return _ADDRESS.fullmatch((disk / "device").resolve().name) is not None


def _text(attribute: Path) -> str:
    """Empty when there is no such attribute."""
    try:
        return attribute.read_text().strip()
    except OSError:
        return ""
