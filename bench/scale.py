"""How the index and the plan of a prune grow with a repository: synthetic ones of tens of millions of blobs.

python -m bench.scale [MILLIONS ...]

The index files and the trees are real ones, made by formula and stored in a folder; packs are only listed. A volume is
1 TiB of different blocks of 1 MiB, 16 to a pack; one snapshot of each. Of every eighth volume the snapshot is gone.
"""

from __future__ import annotations

import binascii
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from icebrick.backend.base import BackendWrapper, FileInfo, FileType, Handle
from icebrick.backend.local import LocalBackend
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.prune.execute import PruneOptions, plan_prune
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node, encode_tree
from icebrick.repository.unpacked import save_unpacked
from icebrick.secret import Secret
from icebrick.testing.repositories import CHEAP

T = TypeVar("T")

MIB = 1 << 20
VOLUME = 1 << 20
"""Blocks in a volume."""
IN_PACK = 16
STORED = 700_001
"""Bytes that a block takes, sealed."""
IN_FILE = 50_000 // IN_PACK * IN_PACK
PASSWORD = Secret("geheim")
PACK_SIZE = IN_PACK * (STORED + 41) + 36


def main(millions: list[int]) -> None:
    """A line of JSON for each, measured in a process of its own: memory that was taken once stays taken."""
    for number in millions:
        with tempfile.TemporaryDirectory(prefix="icebrick-scale-", dir=os.environ.get("ICEBRICK_BENCH_DIR")) as folder:
            make(Path(folder), number)
            child = os.fork()
            if not child:
                measure(Path(folder), number)
                os._exit(0)
            os.waitpid(child, 0)


def make(folder: Path, millions: int) -> None:
    repository = init_repository(LocalBackend(folder), PASSWORD, parameters=CHEAP)
    with repository.load_index().writer() as writer:
        trees = [save_volume(writer, number) for number in range(millions)]
    for number, tree in enumerate(trees):
        if number % 8 != 7:
            repository.save_snapshot(Snapshot(Timestamp(number), tree, (f"/cinder/{number}",), "cinder"))
        save_index(repository, number)


def block_ids(volume: int) -> bytes:
    return np.random.default_rng([1, volume]).bytes(VOLUME * ID_SIZE)


def pack_ids(volume: int) -> bytes:
    return np.random.default_rng([2, volume]).bytes(VOLUME // IN_PACK * ID_SIZE)


def save_volume(writer: BlobWriter, volume: int) -> bytes:
    image = Node("volume.raw", mode=0o600, size=VOLUME * MIB, links=1, content=block_ids(volume))
    return writer.save(BlobType.TREE, encode_tree([image]))


def save_index(repository: Repository, volume: int) -> None:
    """Of one volume's packs, as restic writes it: the same text for each pack but for the ids."""
    blob = '{{"id":"{}","type":"data","offset":{},"length":{},"uncompressed_length":1048576}}'
    hole = "#" * 2 * ID_SIZE
    blobs = ",".join(blob.format(hole, number * STORED, STORED) for number in range(IN_PACK))
    template = np.frombuffer(f'{{"id":"{hole}","blobs":[{blobs}]}},'.encode(), dtype=np.uint8)
    holes = np.flatnonzero(template == ord("#"))
    ids = np.frombuffer(block_ids(volume), dtype=np.uint8).reshape(-1, IN_PACK * ID_SIZE)
    packs = np.frombuffer(pack_ids(volume), dtype=np.uint8).reshape(-1, ID_SIZE)
    for start in range(0, len(packs), IN_FILE // IN_PACK):
        rows = np.hstack((packs[start : start + IN_FILE // IN_PACK], ids[start : start + IN_FILE // IN_PACK]))
        text = np.tile(template, (len(rows), 1))
        text[:, holes] = np.frombuffer(binascii.hexlify(rows.tobytes()), dtype=np.uint8).reshape(len(rows), -1)
        save_unpacked(repository.backend, repository.key, FileType.INDEX, b'{"packs":[' + text.tobytes()[:-1] + b"]}\n")


class Listed(BackendWrapper):
    """Says that all packs are there."""

    volumes = 0

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        yield from super().list_files(file_type)
        if file_type is FileType.PACK:
            for volume in range(self.volumes):
                names = pack_ids(volume).hex()
                for start in range(0, len(names), 2 * ID_SIZE):
                    yield FileInfo(Handle(file_type, names[start : start + 2 * ID_SIZE]), PACK_SIZE)


def measure(folder: Path, millions: int) -> None:
    backend = Listed(LocalBackend(folder))
    backend.volumes = millions
    repository = open_repository(backend, PASSWORD)
    base = memory()
    store, load_cpu, load_wall = timed(repository.load_index)
    loaded, load_peak = memory(), peak()
    del store
    plan, plan_cpu, plan_wall = timed(lambda: plan_prune(repository, PruneOptions()))
    assert plan.figures.packs_to_remove >= millions // 8 * (VOLUME // IN_PACK)
    blobs = millions * VOLUME
    index_bytes = sum(info.size for info in repository.backend.list_files(FileType.INDEX))
    print(
        json.dumps(
            {
                "blobs": blobs,
                "data_tib": millions,
                "index_files_mib": round(index_bytes / MIB),
                "load_cpu_s": round(load_cpu, 1),
                "load_wall_s": round(load_wall, 1),
                "load_us_per_blob": round(load_cpu / blobs * 1e6, 2),
                "index_bytes_per_blob": round((loaded - base) / blobs, 1),
                "load_peak_mib": round(load_peak / MIB),
                "prune_plan_cpu_s": round(plan_cpu, 1),
                "prune_plan_wall_s": round(plan_wall, 1),
                "prune_plan_peak_mib": round(peak() / MIB),
            }
        ),
        flush=True,
    )


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it returns, and its seconds of CPU and on the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def memory() -> int:
    """Resident now, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [10, 20, 40])
