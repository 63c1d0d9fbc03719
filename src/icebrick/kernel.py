"""System calls that Python has no functions for. Their numbers are the same on all architectures."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable

FSOPEN, FSCONFIG, FSMOUNT, OPENAT2 = 430, 431, 432, 437


def system_call(number: int, *arguments: int | bytes | None) -> int:
    """What the kernel answers; OSError when it refuses. Bytes are handed over as a C string or a structure."""
    values = [_value(argument) for argument in arguments]
    answer = int(_syscall()(ctypes.c_long(number), *values))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def sync_file_system(fd: int) -> None:
    """Everything written to the file system that `fd` lies on is durable on return; OSError when it is not."""
    if _library().syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _value(argument: int | bytes | None) -> ctypes.c_long | ctypes.c_char_p:
    return ctypes.c_long(argument) if isinstance(argument, int) else ctypes.c_char_p(argument)


def _syscall() -> Callable[..., int]:
    function = _library().syscall
    function.restype = ctypes.c_long
    return function


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
