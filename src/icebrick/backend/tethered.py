"""Become a program that ends when the thread that started it does: python -I -S tethered.py PROCESS PROGRAM ARGUMENT...

A file to be run, not imported. PROCESS is the number of the process that starts this.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):  # it ended before it was asked for
        os._exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - that is the purpose
