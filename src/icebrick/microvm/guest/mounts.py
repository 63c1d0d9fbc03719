"""Mounts file systems inside the guest, on a disk whose changes are thrown away."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

from icebrick.microvm import wire
from icebrick.microvm.guest.refusal import Refused

MODULES_FOLDER = "/modules"
_PLACE = "/fs"
_FINIT_MODULE = 313  # on x86-64
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS, _NO_ATIME = 1, 2, 4, 8, 1024  # <linux/mount.h>
_GUARDED = _READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_PROGRAMS | _NO_ATIME
_DETACH = 2

_OPTIONS = {
    "ext4": "errors=remount-ro",  # the superblock may ask for a panic
    "xfs": "",
    "btrfs": "subvolid=5",  # the superblock may name another subvolume as the one to be shown
    "vfat": "codepage=437,iocharset=iso8859-1,utf8=1,errors=remount-ro,tz=UTC",
}
_NTFS = "ro,nodev,nosuid,noexec,noatime,streams_interface=none"

_SUBVOLUME_REFERENCES = 0xD000943D  # BTRFS_IOC_GET_SUBVOL_ROOTREF
_REFERENCES_COUNT = 8 + 255 * 16


def mount(source: str, place: str, file_system: str, flags: int = 0, options: str = "") -> None:
    """mount(2); OSError."""
    texts = [os.fsencode(text) for text in (source, place, file_system)]
    _check(_libc().mount(*texts, ctypes.c_ulong(flags), os.fsencode(options)))


def load_modules(purpose: str) -> None:
    """Those that are there for this, in the order of what needs what; OSError."""
    folder = f"{MODULES_FOLDER}/{purpose}"
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        _load_module(f"{folder}/{name}")


def _load_module(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc().syscall(_FINIT_MODULE, fd, b"", 0))
    except FileExistsError:
        pass  # another purpose has brought it
    finally:
        os.close(fd)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(answer: int) -> None:
    if answer != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Mounted:
    """At most one file system at a time."""

    def __init__(self) -> None:
        self._type = ""

    def mount(self, disk: int, file_system: str) -> int:
        """A descriptor of its root directory; OSError, or Refused when a program says no."""
        device = f"/dev/vd{chr(ord('a') + disk)}"
        load_modules(file_system)
        if file_system == "ntfs":
            _run("/bin/ntfs-3g", "-o", _NTFS, device, _PLACE)
        elif file_system in _OPTIONS:
            mount(device, _PLACE, file_system, _GUARDED, _OPTIONS[file_system])
        else:
            raise OSError(errno.ENODEV, "unknown type")
        self._type = file_system
        return os.open(_PLACE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def unmount(self) -> None:
        if self._type:
            self._type = ""
            _check(_libc().umount2(os.fsencode(_PLACE), _DETACH))

    def has_subvolumes(self, root: int) -> bool:
        """Of a btrfs."""
        if self._type != "btrfs":
            return False
        answer = bytearray(4096)
        try:
            fcntl.ioctl(root, _SUBVOLUME_REFERENCES, answer)
        except OSError as error:
            if error.errno != errno.EOVERFLOW:  # there are more than fit into one answer
                raise
            return True
        return answer[_REFERENCES_COUNT] > 0


def _run(*arguments: str) -> None:
    pid = os.posix_spawn(arguments[0], arguments, {})
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise Refused(wire.MOUNT_PROGRAM)
