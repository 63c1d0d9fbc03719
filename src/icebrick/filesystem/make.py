"""A file system made again as it was: type, label, UUID, sizes and features."""

from __future__ import annotations

from collections.abc import Iterator

from icebrick.errors import FileSystemError, UsageError
from icebrick.filesystem.base import FOREIGN_TYPES, FileSystem, device_size
from icebrick.filesystem.programs import find_program, run_program
from icebrick.filesystem.superblock import EXT4_FEATURES

_EXT4_ON_ERRORS = {1: "continue", 2: "remount-ro", 3: "panic"}
_XFS_FEATURES = {"m": ("finobt", "rmapbt", "reflink", "inobtcount", "bigtime"), "i": ("sparse", "nrext64")}
_BTRFS_FEATURES = {
    "O": ("mixed-bg", "extref", "skinny-metadata", "no-holes"),
    "R": ("free-space-tree",),  # newer mkfs.btrfs take these as -O, but still know -R
}


def make_file_system(device: str, file_system: FileSystem) -> None:
    """Everything on the device is lost; the file system takes up all of it.

    UsageError when the device is smaller than the file system was; FileSystemError.
    """
    try:
        size = device_size(device)
    except OSError as error:
        raise FileSystemError(f"cannot open {device}: {error.strerror}") from error
    if size < file_system.size:
        raise UsageError(f"{device} has {size} bytes, its file system needs {file_system.size}")
    arguments = {"ext4": _ext4, "xfs": _xfs, "btrfs": _btrfs}[file_system.type](file_system)
    # What was there must not be found again beside the new, nor its UUID be taken by itself: mkfs.btrfs minds.
    run_program(["wipefs", "--all", "--quiet", "--", device])
    run_program([*arguments, "--", device])


def _ext4(file_system: FileSystem) -> Iterator[str]:
    settings, features = file_system.settings, file_system.features & EXT4_FEATURES
    yield from ("mkfs.ext4", "-F", "-q", "-U", file_system.uuid, "-L", file_system.label)
    if features:
        yield from ("-O", ",".join(["none", *sorted(features)]))
    for option, name in (("-b", "block_size"), ("-I", "inode_size"), ("-C", "cluster_size")):
        if name in settings:
            yield from (option, str(settings[name]))
    if settings.get("inodes") and file_system.size:
        yield from ("-i", str(max(file_system.size // settings["inodes"], settings.get("block_size", 1024))))
    blocks = file_system.size // settings.get("block_size", 1024)
    yield from ("-m", f"{100 * settings.get('reserved_blocks', 0) / blocks:.4f}" if blocks else "5")
    if (on_error := _EXT4_ON_ERRORS.get(settings.get("errors", 0))) is not None:
        yield from ("-e", on_error)


def _xfs(file_system: FileSystem) -> Iterator[str]:
    settings, features = file_system.settings, file_system.features
    yield from ("mkfs.xfs", "-f", "-q", "-L", file_system.label, "-m", f"uuid={file_system.uuid}")
    sizes = (("-b", "block_size"), ("-s", "sector_size"), ("-i", "inode_size"), ("-n", "directory_block_size"))
    for option, name in sizes:
        if name in settings:
            yield from (option, f"size={settings[name]}")
    for option, names in _XFS_FEATURES.items():
        yield from (f"-{option}", ",".join(f"{name}={int(name in features)}" for name in names))


def _btrfs(file_system: FileSystem) -> Iterator[str]:
    settings, features = file_system.settings, file_system.features
    yield from ("mkfs.btrfs", "-f", "-q", "-L", file_system.label, "-U", file_system.uuid)
    for option, name in (("-s", "sector_size"), ("-n", "node_size")):
        if name in settings:
            yield from (option, str(settings[name]))
    if file_system.checksum:
        yield from ("--csum", file_system.checksum)
    for option, names in _BTRFS_FEATURES.items():
        yield from (f"-{option}", ",".join(name if name in features else f"^{name}" for name in names))


def check_can_make(file_system: FileSystem) -> None:
    """FileSystemError when it cannot be made again, or the program for that is not installed here."""
    check_native(file_system)
    find_program(f"mkfs.{file_system.type}")


def check_native(file_system: FileSystem) -> None:
    """FileSystemError for those of `FOREIGN_TYPES`."""
    if file_system.type in FOREIGN_TYPES:
        raise FileSystemError(
            f"a file system of type {file_system.type} can be read here, but neither made nor written",
            hint="'icebrick restore --target DIRECTORY' restores its files to this host.",
        )
