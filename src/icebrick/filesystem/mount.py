"""File systems mounted where nobody else can see them: in no namespace, reached by a descriptor alone.

The mount is gone when its last descriptor is closed, thus with the process at the latest, even when it is killed.
The kernel's own drivers read what is on the device: docs/design/threat-model.md says what that means.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from icebrick.errors import FileSystemError
from icebrick.kernel import FSCONFIG, FSMOUNT, FSOPEN, sync_file_system, system_call

# <linux/mount.h>
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS, _NO_ATIME, _NO_SYMLINKS = 1, 2, 4, 8, 0x10, 0x200000
_GUARDED = _NO_SUID | _NO_DEVICES | _NO_PROGRAMS | _NO_ATIME | _NO_SYMLINKS

_OPTIONS: Mapping[str, Mapping[str, str | None]] = {
    # What to do on errors is in the superblock, too, where a guest can ask for the host's panic.
    "ext4": {"errors": "remount-ro"},
    # The volume that this is a copy of, or another copy, may be mounted on this host.
    "xfs": {"nouuid": None},
    # The superblock can name another subvolume as the one to be shown.
    "btrfs": {"subvolid": "5"},
}
_WRITE_OPTIONS: Mapping[str, Mapping[str, str | None]] = {
    # Tables that mkfs left for later would be written to the copy as long as it is mounted.
    "ext4": {"noinit_itable": None},
}
_NO_SUCH_CALL = frozenset({errno.ENOSYS, errno.EPERM})

_SUBVOLUME_REFERENCES = 0xD000943D  # BTRFS_IOC_GET_SUBVOL_ROOTREF: _IOWR(0x94, 61, 4096 bytes)
_REFERENCES_COUNT = 8 + 255 * 16
_FILE_SYSTEM_INFORMATION = 0x8400941F  # BTRFS_IOC_FS_INFO: _IOR(0x94, 31, 1024 bytes)
_DEVICE_INFORMATION = 0xD000941E  # BTRFS_IOC_DEV_INFO: _IOWR(0x94, 30, 4096 bytes)
_DEVICE_PATH = 4096 - 1024

_FREE_WITHIN = 10.0


@contextmanager
def mounted_for_reading(device: str, file_system: str) -> Iterator[int]:
    """A descriptor of the root directory of the file system of this type, read-only, until the block ends.

    The device must be writable, and is written: a journal is replayed into it, without which files that were safely
    written are missing. Everything opened below the root must be closed in the block.
    """
    with _mounted(device, file_system, {"ro": None}, _GUARDED | _READ_ONLY) as root:
        yield root


@contextmanager
def mounted_for_writing(device: str, file_system: str) -> Iterator[int]:
    """The same to be written; everything is durable when the block has ended normally."""
    with _mounted(device, file_system, _WRITE_OPTIONS.get(file_system, {}), _GUARDED) as root:
        yield root
        try:
            sync_file_system(root)
        except OSError as error:
            raise FileSystemError(f"the file system on {device} could not store all: {error.strerror}") from error


def has_subvolumes(root: int) -> bool:
    """Whether a btrfs has subvolumes, which a backup of its files would turn into directories; OSError."""
    answer = bytearray(4096)
    try:
        fcntl.ioctl(root, _SUBVOLUME_REFERENCES, answer)
    except OSError as error:
        if error.errno != errno.EOVERFLOW:  # there are more than fit into one answer
            raise
        return True
    return bool(struct.unpack_from("<B", answer, _REFERENCES_COUNT)[0])


@contextmanager
def _mounted(device: str, file_system: str, options: Mapping[str, str | None], attributes: int) -> Iterator[int]:
    mount = _mount(device, file_system, {**options, **_OPTIONS.get(file_system, {})}, attributes)
    try:
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        try:
            _check_device(root, device, file_system)
            yield root
        finally:
            os.close(root)
    finally:
        os.close(mount)
    _wait_until_free(device)


def _check_device(root: int, device: str, file_system: str) -> None:
    """FileSystemError when the file system that is mounted is another device's than the one that was named."""
    try:
        is_right = _device_of(root, file_system) == os.stat(device).st_rdev
    except OSError as error:
        raise FileSystemError(f"cannot tell which device is mounted for {device}: {error.strerror}") from error
    if not is_right:
        raise FileSystemError(f"{device} was to be mounted, and another device's file system was")


def _device_of(root: int, file_system: str) -> int:
    """A btrfs is found by its UUID, which all volumes made from one image share; older kernels may mix them up."""
    if file_system != "btrfs":
        return os.fstat(root).st_dev
    information = bytearray(1024)
    fcntl.ioctl(root, _FILE_SYSTEM_INFORMATION, information)
    device = bytearray(4096)
    device[:8] = information[:8]  # the highest number of a device in it, of which there is but one
    fcntl.ioctl(root, _DEVICE_INFORMATION, device)
    return os.stat(bytes(device[_DEVICE_PATH:]).partition(b"\0")[0]).st_rdev


def _mount(device: str, file_system: str, options: Mapping[str, str | None], attributes: int) -> int:
    """A descriptor (O_PATH) that holds the mount."""
    try:
        context = system_call(FSOPEN, os.fsencode(file_system), _CLOEXEC)
    except OSError as error:
        raise _cannot_mount(error, file_system) from error
    try:
        _configure(context, _SET_STRING, "source", device)
        for name, value in options.items():
            _configure(context, _SET_FLAG if value is None else _SET_STRING, name, value)
        _configure(context, _CREATE, None, None)
        return system_call(FSMOUNT, context, _CLOEXEC, attributes)
    except OSError as error:
        words = "; ".join(_messages(context)) or error.strerror
        raise FileSystemError(f"cannot mount the {file_system} file system on {device}: {words}") from error
    finally:
        os.close(context)


def _cannot_mount(error: OSError, file_system: str) -> FileSystemError:
    if error.errno == errno.ENODEV:
        return FileSystemError(f"this kernel knows no file systems of type {file_system}")
    if error.errno in _NO_SUCH_CALL:
        return FileSystemError(
            f"file systems cannot be mounted here: fsopen: {error.strerror}",
            hint="It needs root and Linux 5.14 or newer; a container may forbid it. Mode 'blocks' does without.",
        )
    return FileSystemError(f"cannot mount {file_system} file systems: {error.strerror}")


def _configure(context: int, command: int, name: str | None, value: str | None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (name, value)]
    system_call(FSCONFIG, context, command, *encoded, 0)


def _messages(context: int) -> Iterator[str]:
    """What the file system says went wrong; each line begins with its level, as in 'e device is busy'."""
    with suppress(OSError):  # ENODATA: that was all
        while line := os.read(context, 4096):
            yield os.fsdecode(line).strip().removeprefix("e ")


def _wait_until_free(
    device: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when nothing uses the device any more; FileSystemError when something keeps it.

    For a moment that may be a process just forked, which has all our descriptors until it becomes another program.
    """
    deadline = clock() + _FREE_WITHIN
    while True:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
            return
        except OSError as error:
            if error.errno != errno.EBUSY or clock() > deadline:
                raise FileSystemError(f"{device} is still in use after its file system was unmounted") from error
        sleep(0.01)
