"""Ten volumes at once take the memory of one, and a little for each."""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 1 << 20
BOUND = 100 * MIB
"""For two slots; were they not shared, ten volumes would take 17 MiB for each of twenty packs being filled."""

PROGRAM = """
import os, resource, sys
from icebrick.backend.base import FileType
from icebrick.backend.memory import MemoryBackend
from icebrick.blockdev import BlockSource, Extent
from icebrick.progress import NO_PROGRESS
from icebrick.repository.keyfile import ScryptParameters
from icebrick.repository.repository import init_repository
from icebrick.repository.timestamp import now
from icebrick.secret import Secret
from icebrick.workflow.images import load_images
from icebrick.workflow.naming import name_image
from icebrick.workflow.parallel import Done, new_capacity, run_jobs
from icebrick.workflow.saving import SnapshotSpec, opened_saver

MIB = 1 << 20
NOISE = os.urandom(MIB)

class Packless(MemoryBackend):
    def save(self, handle, data):
        if handle.type is not FileType.PACK:
            super().save(handle, data)

class Noisy(BlockSource):
    size = 4096 * MIB
    def __init__(self, number):
        self.number = number
    def extents(self):
        yield Extent(0, 20 * MIB)
    def read_into(self, offset, buffer):
        buffer[:] = NOISE
        buffer[:16] = b"%8d%8d" % (self.number, offset // MIB)

def back_up(number):
    name = name_image(str(number), "host", run_id="run", tags=())
    saver.save_image(Noisy(number), SnapshotSpec(name, now()), NO_PROGRESS)

at_once = int(sys.argv[1])
repository = init_repository(Packless(), Secret("geheim"), parameters=ScryptParameters(n=2))
capacity = new_capacity(at_once, threads=2)
with opened_saver(repository, load_images(repository, NO_PROGRESS).store, capacity.slots) as saver:
    assert run_jobs(range(10), back_up, capacity) == [Done(None)] * 10
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(at_once: int) -> int:
    """Of a process that backs ten volumes up, so many at once, in bytes."""
    process = subprocess.run([sys.executable, "-c", PROGRAM, str(at_once)], capture_output=True, text=True, check=True)
    return int(process.stdout)


@pytest.mark.slow
def test_ten_volumes_at_once_take_little_more_memory_than_one_after_the_other() -> None:
    assert peak(10) - peak(1) <= BOUND
