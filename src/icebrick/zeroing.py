"""Making ranges of a device or file read as zeros, giving storage back where that is possible."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import stat
import struct
from collections.abc import Callable

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_BLKZEROOUT = 0x127F
_ALIGNMENT = 4096
_STEP = 1 << 30
"""At most so many bytes in one call, which cannot be interrupted."""
_ZEROS = bytes(1 << 20)
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS})


def zero_range(fd: int, offset: int, length: int) -> None:
    """The range reads as zeros on return; OSError when the device fails.

    First by a hole: on a block device the kernel does that only where the device promises zeros afterwards (a
    plain BLKDISCARD promises nothing). Then by having the device write zeros, then by writing them.
    """
    if stat.S_ISREG(os.fstat(fd).st_mode):
        _in_steps(_punch_hole, fd, offset, length, fallback=_write_zeros)
        return
    start = -(-offset // _ALIGNMENT) * _ALIGNMENT
    end = (offset + length) // _ALIGNMENT * _ALIGNMENT
    if start >= end:
        _write_zeros(fd, offset, length)
        return
    _write_zeros(fd, offset, start - offset)
    _in_steps(_punch_hole, fd, start, end - start, fallback=_zero_out)
    _write_zeros(fd, end, offset + length - end)


def _in_steps(
    zero: Callable[[int, int, int], None],
    fd: int,
    offset: int,
    length: int,
    *,
    fallback: Callable[[int, int, int], None],
) -> None:
    end = offset + length
    while offset < end:
        step = min(_STEP, end - offset)
        try:
            zero(fd, offset, step)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            fallback(fd, offset, step)
        offset += step


def _punch_hole(fd: int, offset: int, length: int) -> None:
    """Needs no alignment on files, that of logical blocks on devices."""
    if _fallocate()(fd, _KEEP_SIZE | _PUNCH_HOLE, offset, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _zero_out(fd: int, offset: int, length: int) -> None:
    try:
        fcntl.ioctl(fd, _BLKZEROOUT, struct.pack("=QQ", offset, length))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _write_zeros(fd, offset, length)


def _write_zeros(fd: int, offset: int, length: int) -> None:
    end = offset + length
    while offset < end:
        offset += os.pwrite(fd, memoryview(_ZEROS)[: end - offset], offset)


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    """The C library's; Python offers only the form without a mode."""
    function = ctypes.CDLL(None, use_errno=True).fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    function.restype = ctypes.c_int
    return function
