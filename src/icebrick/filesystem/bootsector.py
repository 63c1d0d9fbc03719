"""What the boot sectors of FAT and NTFS say, as `superblock` reads those of others.

The layouts are those of Microsoft's "FAT: General Overview of On-Disk Format", and of ntfs-3g's layout.h. A FAT's label
is a file, and NTFS has its in one: neither is looked for.
"""

from __future__ import annotations

import struct

from icebrick.filesystem.base import FileSystem

_SECTORS = frozenset({512, 1024, 2048, 4096})


def read_fat(data: bytes) -> FileSystem:
    """ValueError when it is none."""
    sector, cluster = struct.unpack_from("<HB", data, 11)
    (few,) = struct.unpack_from("<H", data, 19)
    (many,) = struct.unpack_from("<I", data, 32)
    (length,) = struct.unpack_from("<H", data, 22)
    if sector not in _SECTORS or not cluster or not (few or many):
        raise ValueError("no FAT boot sector")
    (serial,) = struct.unpack_from("<I", data, 39 if length else 67)  # only FAT32 has no length of a table here
    settings = {"sector_size": sector, "cluster_size": sector * cluster}
    return FileSystem("vfat", "", f"{serial >> 16:04X}-{serial & 0xFFFF:04X}", (few or many) * sector, settings)


def read_ntfs(data: bytes) -> FileSystem:
    """ValueError when it is none."""
    sector, cluster = struct.unpack_from("<HB", data, 11)
    sectors, _, _, _, serial = struct.unpack_from("<QQQQQ", data, 40)
    if data[3:11] != b"NTFS    " or sector not in _SECTORS:
        raise ValueError("no NTFS boot sector")
    per_cluster = cluster if cluster <= 128 else 1 << (256 - cluster & 31)
    settings = {"sector_size": sector, "cluster_size": sector * per_cluster}
    return FileSystem("ntfs", "", f"{serial:016X}", sectors * sector, settings)
