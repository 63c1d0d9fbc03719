"""What a connection says of the device that it leads to: the volume's id, and the address of the device on its storage.

The keys are those that Cinder's drivers answer and os-brick's connectors read
(https://docs.openstack.org/os-brick/latest/reference/os_brick/initiator/connector.html). None of Cinder's drivers names
the WWN or serial number of a SCSI device.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle

from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError

HINT = (
    "Nothing was read or written. Look into the storage's log, and whether this host has devices left of volumes past."
)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_FLAT = 0x4000
"""Added to a number by the flat addressing of SAM-3, that some arrays want: `addressing_mode`."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A logical unit: the target's iSCSI name, or the world wide name of a Fibre Channel port, and its number there."""

    target: str
    number: int

    def __str__(self) -> str:
        return f"unit {self.number} of target {self.target}"


@dataclass(frozen=True, slots=True)
class Namespace:
    """An NVMe namespace. What the connection does not say is empty; ids in hex digits alone."""

    subsystem: str = ""
    uuid: str = ""
    nguid: str = ""


def check_volume(info: ConnectionInfo) -> None:
    """AttachError when it says that it leads to another volume than the one that was asked for."""
    told = str(info.data.get("volume_id") or "")
    # Drivers may have numbers of their own there.
    if info.volume_id and _UUID.fullmatch(told) and told.lower() != info.volume_id.lower():
        raise AttachError(f"asked for volume {info.volume_id}, Cinder answered how to reach volume {told}", hint=HINT)


def check_name(info: ConnectionInfo, name: str) -> None:
    """AttachError when a file on storage that is local has the name of another volume, as Cinder gives them."""
    ids = [found.lower() for found in re.findall(f"volume-({_UUID.pattern})", name, re.IGNORECASE)]
    if info.volume_id and ids and info.volume_id.lower() not in ids:
        raise AttachError(f"asked for volume {info.volume_id}, the storage showed {name}", hint=HINT)


def is_iscsi(info: ConnectionInfo) -> bool:
    """With or without RDMA."""
    return info.driver_volume_type in {"iscsi", "iser"}


def is_fibre_channel(info: ConnectionInfo) -> bool:
    return info.driver_volume_type == "fibre_channel"


def lists_all_targets(info: ConnectionInfo) -> bool:
    """Or else os-brick may find more ways to the unit, under names of targets that the connection does not hold."""
    return bool(info.data.get("target_iqns"))


def units_of(info: ConnectionInfo) -> frozenset[Unit]:
    """For iSCSI and Fibre Channel; empty for what does not say."""
    data = info.data
    if is_iscsi(info):
        targets, numbers = _all(data, "target_iqns", "target_iqn"), _all(data, "target_luns", "target_lun")
    elif is_fibre_channel(info):
        targets, numbers = _all(data, "target_wwns", "target_wwn"), _all(data, "target_luns", "target_lun")
    else:
        return frozenset()
    pairs = zip(targets, numbers if len(numbers) >= len(targets) else cycle(numbers or ["0"]), strict=False)
    try:
        return frozenset(Unit(_name(target), plain_number(int(number))) for target, number in pairs)
    except ValueError as error:
        raise AttachError(f"Cinder answered {numbers} for the number of a logical unit", hint=HINT) from error


def plain_number(number: int) -> int:
    """Of a logical unit, without the addressing method."""
    return number & ~_FLAT if _FLAT <= number < 2 * _FLAT else number


def namespace_of(info: ConnectionInfo) -> Namespace | None:
    """None for what is no NVMe, or is an array of several."""
    data = info.data
    if not info.driver_volume_type.startswith("nvme") or data.get("volume_replicas"):
        return None
    return Namespace(
        subsystem=str(data.get("target_nqn") or data.get("nqn") or ""),
        uuid=hex_digits(data.get("vol_uuid")),
        nguid=hex_digits(data.get("volume_nguid")),
    )


def hex_digits(value: object) -> str:
    """Of an id, however it is written."""
    return re.sub(r"^0x|[^0-9a-f]", "", str(value or "").lower())


def addresses_of(info: ConnectionInfo) -> frozenset[str]:
    """What only one connection at a time may lead to, known before it is made; empty where nothing is known."""
    if units := units_of(info):
        return frozenset(map(str, units))
    namespace = namespace_of(info)
    if namespace is not None and (namespace.uuid or namespace.nguid):
        return frozenset({f"NVMe namespace {namespace.uuid or namespace.nguid}"})
    path = info.data.get("device_path")
    return frozenset({f"device {path}"}) if info.driver_volume_type == "local" and path else frozenset()


def _all(data: Mapping[str, object], several: str, one: str) -> list[str]:
    told = data.get(several) or data.get(one)
    if told is None:
        return []
    return [str(each) for each in told] if isinstance(told, (list, tuple)) else [str(told)]


def _name(target: str) -> str:
    """iSCSI names and world wide names are compared without case."""
    return target.lower().removeprefix("0x")
