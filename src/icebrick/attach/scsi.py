"""Asking a SCSI disk itself, past all that the kernel remembers of it: what it is, and how large.

Commands go by the SG_IO ioctl (Linux: include/scsi/sg.h); they are INQUIRY, of SPC-4 6.4, its page 83h, of 7.8.6, and
READ CAPACITY (16), of SBC-3 5.16.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from dataclasses import dataclass

from icebrick.attach.blockio import device_errors
from icebrick.errors import AttachError

_SG_IO = 0x2285
_FROM_DEVICE = -3
_MILLISECONDS = 30_000
_GOOD, _CHECK_CONDITION = 0x00, 0x02
_ILLEGAL_REQUEST, _UNIT_ATTENTION = 0x05, 0x06
_ATTEMPTS = 5
"""A unit tells of each thing that has happened to it before it obeys."""
_SENSE = 64
_PAGE = 4096
_DESIGNATORS = b"\x12\x01\x83" + struct.pack(">H", _PAGE) + b"\0"
_CAPACITY = b"\x9e\x10" + bytes(8) + struct.pack(">I", 32) + bytes(2)
_LOGICAL_UNIT = 0
_NAMES = {1: "t10", 2: "eui", 3: "naa", 8: "name"}
"""Types of designators that name one unit in the world."""


class _Command(ctypes.Structure):
    """struct sg_io_hdr."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


@dataclass(frozen=True, slots=True)
class Disk:
    """What a disk says: its names, in no order, none when it has none, and its size in bytes."""

    names: frozenset[str]
    size: int


def ask_disk(path: str) -> Disk:
    """The disk at `path`; AttachError when it does not answer."""
    with device_errors(f"ask {path} what it is"):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            page = _answer(fd, path, _DESIGNATORS, _PAGE)
            capacity = _answer(fd, path, _CAPACITY, 32)
        finally:
            os.close(fd)
    if capacity is None or len(capacity) < 12:
        raise AttachError(f"{path} does not tell its size")
    last, block = struct.unpack(">QI", capacity[:12])
    return Disk(names_in(page or b""), (last + 1) * block)


def names_in(page: bytes) -> frozenset[str]:
    """The world-wide names of the logical unit in a page 83h; what belongs to ports and targets is passed over."""
    names: set[str] = set()
    end = min(len(page), 4 + int.from_bytes(page[2:4], "big"))
    at = 4
    while at + 4 <= end:
        kind, association, length = page[at + 1] & 0x0F, page[at + 1] >> 4 & 3, page[at + 3]
        value = page[at + 4 : at + 4 + length]
        if association == _LOGICAL_UNIT and kind in _NAMES and len(value) == length:
            names.add(f"{_NAMES[kind]}.{value.hex()}")
        at += 4 + length
    return frozenset(names)


def _answer(fd: int, path: str, command: bytes, length: int) -> bytes | None:
    """None when the disk does not know the command or page."""
    sense = b""
    for _ in range(_ATTEMPTS):
        status, content, sense = _send(fd, path, command, length)
        if status == _GOOD:
            return content
        if status != _CHECK_CONDITION or _key(sense) not in {_ILLEGAL_REQUEST, _UNIT_ATTENTION}:
            break
        if _key(sense) == _ILLEGAL_REQUEST:
            return None
    raise AttachError(f"{path} does not say what it is: SCSI status {status:#04x}, sense {sense[:18].hex()}")


def _send(fd: int, path: str, command: bytes, length: int) -> tuple[int, bytes, bytes]:
    """Status, content and sense data."""
    content, sense = ctypes.create_string_buffer(length), ctypes.create_string_buffer(_SENSE)
    words = ctypes.create_string_buffer(command, len(command))
    header = _Command(
        interface_id=ord("S"),
        dxfer_direction=_FROM_DEVICE,
        cmd_len=len(command),
        mx_sb_len=_SENSE,
        dxfer_len=length,
        dxferp=ctypes.addressof(content),
        cmdp=ctypes.addressof(words),
        sbp=ctypes.addressof(sense),
        timeout=_MILLISECONDS,
    )
    fcntl.ioctl(fd, _SG_IO, header)
    if header.host_status:
        raise AttachError(f"{path} cannot be reached: host status {header.host_status:#04x}")
    return header.status, content.raw[: length - max(0, header.resid)], sense.raw[: header.sb_len_wr]


def _key(sense: bytes) -> int:
    """Of sense data in fixed (70h, 71h) or descriptor format; SPC-4 4.5."""
    if len(sense) < 3:
        return 0
    return (sense[2] if sense[0] & 0x7F < 0x72 else sense[1]) & 0x0F
