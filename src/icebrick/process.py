"""What a process settles once at its start, before it uses much memory: how memory and threads are kept."""

from __future__ import annotations

import ctypes
import os

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
