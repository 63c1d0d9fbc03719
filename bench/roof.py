"""What the same bytes cost with nothing but the work that cannot be saved: read, SHA-256, zstd. On all cores.

python -m bench.roof IMAGE
"""

from __future__ import annotations

import hashlib
import mmap
import sys

import zstandard

from icebrick.attach.device import open_image
from icebrick.engine.block.blocks import Blocks, Range, stripes
from icebrick.engine.block.zeros import ZeroTest
from icebrick.parallel import Pool, Workers, default_threads
from icebrick.process import keep_freed_memory
from icebrick.repository.packer import COMPRESSION


def main(path: str) -> None:
    keep_freed_memory()
    with open_image(path) as source:
        blocks = Blocks(source.size)
        is_zero = ZeroTest(blocks.block_size)
        buffers = Pool(lambda: mmap.mmap(-1, blocks.block_size))
        compressors = Pool(lambda: zstandard.ZstdCompressor(compression_params=COMPRESSION))

        def work(stripe: Range) -> None:
            with buffers.borrow() as buffer, memoryview(buffer) as whole, compressors.borrow() as compressor:
                for number in range(*stripe):
                    block = whole[: blocks.length(number)]
                    source.read_into(blocks.offset(number), block)
                    if not is_zero(block):
                        hashlib.sha256(block).digest()
                        compressor.compress(block)

        with Workers(work, threads=default_threads()) as workers:
            for stripe in stripes(blocks.touched(source.extents()), 8):
                workers.put(stripe)


if __name__ == "__main__":
    main(sys.argv[1])
