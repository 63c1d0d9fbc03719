"""What a process settles once at its start, before it uses much memory: how memory, threads and files are kept."""

from __future__ import annotations

import ctypes
import os
import resource

_FILES = 1 << 16

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Let buffers of a block's size be reused instead of being mapped, zeroed and unmapped for every block.

    Saves a tenth of the processor time of a backup (docs/design/decisions/0004-compression.md). The memory kept is
    bounded by what was in use at once. Does nothing on C libraries without mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)
        mallopt(_M_TOP_PAD, 4 << 20)


def start_no_idle_threads() -> None:
    """Keep numpy, when it is imported later, from starting threads for matrices, which nobody here multiplies."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def open_many_files() -> None:
    """Raise the number of files that may be open as far as is allowed, as Go programs do.

    Each directory on the way down to a file is open, in every volume whose files are backed up at the same time.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
