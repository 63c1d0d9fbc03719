"""What the superblocks of ext4, XFS and btrfs say, read without the help of programs that trust them.

A superblock may be hostile. Read by the bytes it can say nothing but wrong numbers; in the text that programs print
of it, a label with line breaks could say anything. The layouts are those of the kernel's headers: fs/ext4/ext4.h,
fs/xfs/libxfs/xfs_format.h, uapi/linux/btrfs_tree.h.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import replace

from icebrick.filesystem.base import FileSystem, Unsuitable
from icebrick.filesystem.bootsector import read_fat, read_ntfs

SUPERBLOCKS = {"ext4": (1024, 1024), "xfs": (0, 512), "btrfs": (65536, 4096), "vfat": (0, 512), "ntfs": (0, 512)}
"""Offset and length on the device."""

_EXT4_COMPATIBLE = {
    0x4: "has_journal",
    0x8: "ext_attr",
    0x10: "resize_inode",
    0x20: "dir_index",
    0x200: "sparse_super2",
    0x800: "stable_inodes",
    0x1000: "orphan_file",
}
_EXT4_INCOMPATIBLE = {
    0x1: "compression",
    0x2: "filetype",
    0x8: "journal_dev",
    0x10: "meta_bg",
    0x40: "extent",
    0x80: "64bit",
    0x100: "mmp",
    0x200: "flex_bg",
    0x400: "ea_inode",
    0x2000: "metadata_csum_seed",
    0x4000: "large_dir",
    0x8000: "inline_data",
    0x10000: "encrypt",
    0x20000: "casefold",
}
_EXT4_READ_ONLY = {
    0x1: "sparse_super",
    0x2: "large_file",
    0x8: "huge_file",
    0x10: "uninit_bg",
    0x20: "dir_nlink",
    0x40: "extra_isize",
    0x100: "quota",
    0x200: "bigalloc",
    0x400: "metadata_csum",
    0x2000: "project",
    0x8000: "verity",
}
EXT4_FEATURES = frozenset({*_EXT4_COMPATIBLE.values(), *_EXT4_INCOMPATIBLE.values(), *_EXT4_READ_ONLY.values()})
_EXT4_LEFT_OUT = {"compression": "compressed", "encrypt": "encrypted", "casefold": "case-insensitive"}
"""What would not be the same file system without attributes of directories that are not backed up."""

_XFS_READ_ONLY = {0x1: "finobt", 0x2: "rmapbt", 0x4: "reflink", 0x8: "inobtcount"}
_XFS_INCOMPATIBLE = {0x1: "ftype", 0x2: "sparse", 0x8: "bigtime", 0x20: "nrext64"}
_XFS_NEEDS_REPAIR, _XFS_METADATA_FOLDER = 0x10, 0x100
_XFS_IGNORES_CASE = 0x4000

_BTRFS_INCOMPATIBLE = {0x4: "mixed-bg", 0x40: "extref", 0x100: "skinny-metadata", 0x200: "no-holes"}
_BTRFS_READ_ONLY = {0x1: "free-space-tree"}
_BTRFS_ZONED, _BTRFS_SEEDING = 0x1000, 1 << 32
_BTRFS_CHECKSUMS = ("crc32c", "xxhash", "sha256", "blake2")


def read_superblock(file_system: str, data: bytes) -> FileSystem | Unsuitable:
    """`data` is what lies at the place that `SUPERBLOCKS` names; ValueError when it is no superblock of that type."""
    offset, length = SUPERBLOCKS[file_system]
    if len(data) < length:
        raise ValueError(f"it ends before byte {offset + length}")
    readers = {"ext4": _ext4, "xfs": _xfs, "btrfs": _btrfs, "vfat": read_fat, "ntfs": read_ntfs}
    found = readers[file_system](data)
    if isinstance(found, FileSystem):
        found = replace(found, settings={name: value for name, value in found.settings.items() if value})
    return found


def _ext4(data: bytes) -> FileSystem | Unsuitable:
    inodes, blocks, reserved = struct.unpack_from("<III", data, 0)
    block_log, cluster_log = struct.unpack_from("<II", data, 0x18)
    magic, _, on_error = struct.unpack_from("<HHH", data, 0x38)
    (inode_size,) = struct.unpack_from("<H", data, 0x58)
    compatible, incompatible, read_only = struct.unpack_from("<III", data, 0x5C)
    if magic != 0xEF53 or block_log > 6 or cluster_log > 20:
        raise ValueError("no ext4 superblock")
    features = _names(_EXT4_COMPATIBLE, compatible) | _names(_EXT4_INCOMPATIBLE, incompatible)
    features |= _names(_EXT4_READ_ONLY, read_only)
    for feature in sorted(features & set(_EXT4_LEFT_OUT)):
        return Unsuitable(f"an ext4 file system that may have {_EXT4_LEFT_OUT[feature]} directories")
    if "journal_dev" in features or struct.unpack_from("<I", data, 0xE4) != (0,):
        return Unsuitable("an ext4 file system with its journal on another device")
    if "64bit" in features:
        high, reserved_high = struct.unpack_from("<II", data, 0x150)
        blocks, reserved = blocks | high << 32, reserved | reserved_high << 32
    settings = {"block_size": 1024 << block_log, "inode_size": inode_size, "inodes": inodes, "errors": on_error}
    if "bigalloc" in features:
        settings["cluster_size"] = 1024 << cluster_log
    settings["reserved_blocks"] = reserved
    label, size = _label(data[0x78:0x88]), blocks * settings["block_size"]
    return FileSystem("ext4", label, _uuid(data, 0x68), size, settings, features)


def _xfs(data: bytes) -> FileSystem | Unsuitable:
    magic, block_size, blocks, _, realtime_extents = struct.unpack_from(">4sIQQQ", data, 0)
    (log_start,) = struct.unpack_from(">Q", data, 48)
    version, sector_size, inode_size = struct.unpack_from(">HHH", data, 100)
    read_only, incompatible = struct.unpack_from(">II", data, 212)
    directory_log = data[192]
    if magic != b"XFSB" or version & 15 not in (4, 5) or directory_log > 8:
        raise ValueError("no XFS superblock")
    if realtime_extents or log_start == 0:
        return Unsuitable("an XFS file system that needs a second device")
    if version & 15 == 4:
        return Unsuitable("an XFS file system of the outdated version 4")
    if incompatible & _XFS_NEEDS_REPAIR:
        return Unsuitable("an XFS file system that says it needs xfs_repair")
    if incompatible & _XFS_METADATA_FOLDER or version & _XFS_IGNORES_CASE:
        return Unsuitable("an XFS file system with features that are not known here")
    settings = {
        "block_size": block_size,
        "sector_size": sector_size,
        "inode_size": inode_size,
        "directory_block_size": block_size << directory_log,
    }
    features = _names(_XFS_READ_ONLY, read_only) | _names(_XFS_INCOMPATIBLE, incompatible)
    return FileSystem("xfs", _label(data[108:120]), _uuid(data, 32), blocks * block_size, settings, features)


def _btrfs(data: bytes) -> FileSystem | Unsuitable:
    flags, magic = struct.unpack_from("<Q8s", data, 56)
    (size,) = struct.unpack_from("<Q", data, 112)
    devices, sector_size, node_size = struct.unpack_from("<QII", data, 136)
    read_only, incompatible, checksum = struct.unpack_from("<QQH", data, 180)
    if magic != b"_BHRfS_M" or checksum >= len(_BTRFS_CHECKSUMS):
        raise ValueError("no btrfs superblock")
    if devices != 1 or flags & _BTRFS_SEEDING:
        return Unsuitable(f"a btrfs file system of {devices} devices")
    if incompatible & _BTRFS_ZONED:
        return Unsuitable("a btrfs file system for zoned devices")
    settings = {"sector_size": sector_size, "node_size": node_size}
    features = _names(_BTRFS_INCOMPATIBLE, incompatible) | _names(_BTRFS_READ_ONLY, read_only)
    label, checksum_name = _label(data[299:555]), _BTRFS_CHECKSUMS[checksum]
    return FileSystem("btrfs", label, _uuid(data, 32), size, settings, features, checksum_name)


def _names(known: Mapping[int, str], bits: int) -> frozenset[str]:
    return frozenset(name for bit, name in known.items() if bits & bit)


def _label(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _uuid(data: bytes, offset: int) -> str:
    return str(uuid.UUID(bytes=data[offset : offset + 16]))
