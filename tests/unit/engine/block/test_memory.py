"""Memory does not grow with a volume's data, and with its size only by the list of its blocks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from icebrick.engine.block.blocks import BLOCK_SIZE

GIB = 1 << 30
BYTES_PER_BLOCK = 48
"""Of a nearly empty volume: 4 in the list as it is stored, some more in its text and in sets of blocks.

Tables with a row for each block take no memory where it is empty: the ids alone would be 32 here, four times over."""

PROGRAM = """
import resource, sys
from icebrick.backend.memory import MemoryBackend
from icebrick.engine.block.backup import BlockOptions
from icebrick.parallel import Slots
from icebrick.engine.block.restore import restore_image
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.images import load_image, save_backup, small_repository

size, options = int(sys.argv[1]), BlockOptions(slots=Slots(2))
source, target = BytesTarget(size), BytesTarget(size)
for part in range(8):
    source.write(size // 8 * part, bytes([part + 1]) * 700_000)
repository = small_repository(MemoryBackend())
parent = save_backup(repository, source, options=options).snapshot_id
source.write(size // 2, b"changed")
child = save_backup(repository, source, parent=parent, options=options).snapshot_id
restore_image(*load_image(repository, child), target, options=options)
one, other = bytearray(1 << 20), bytearray(1 << 20)
for part in range(8):
    source.read_into(size // 8 * part, memoryview(one))
    target.read_into(size // 8 * part, memoryview(other))
    assert one == other
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(size: int) -> int:
    """Of a process that backs up a volume of `size` bytes twice and restores it, in bytes."""
    process = subprocess.run([sys.executable, "-c", PROGRAM, str(size)], capture_output=True, text=True, check=True)
    return int(process.stdout)


@pytest.mark.slow
def test_the_memory_for_a_large_volume_is_that_for_a_small_one_and_a_list_of_blocks() -> None:
    small, large = 4 * GIB, 200 * GIB
    assert peak(large) - peak(small) <= BYTES_PER_BLOCK * (large - small) // BLOCK_SIZE
