"""What reading a file system costs in isolation, beside a mount on this host: python -m bench.readers

Needs root, and what `make setup-reader` prepares. Times are of processors, of all processes together: so other work on
the machine does not count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file.backup import backup_files
from icebrick.engine.file.base import FileTree
from icebrick.engine.file.guesttree import mounted
from icebrick.engine.file.hosttree import HostTree
from icebrick.engine.file.parent import FilesBaseline
from icebrick.filesystem.mount import mounted_for_reading, mounted_for_writing
from icebrick.microvm.accelerator import working_accelerator
from icebrick.microvm.image import load_image
from icebrick.microvm.machine import started
from icebrick.repository.repository import Repository
from icebrick.testing.images import small_repository
from icebrick.testing.loopdevice import loop_device

MIB = 1 << 20
SMALL_FILES, SMALL = 10_000, 4096
LARGE_FILES, LARGE = 4, 64 * MIB
READER_DIR = Path(os.environ.get("ICEBRICK_READER_DIR", "build/reader"))


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor seconds of starting, of a first backup, and of one where nothing has changed; memory in MiB."""

    start: float
    first: float
    unchanged: float
    memory: int


def main() -> int:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        small = make_disk(folder / "small", SMALL_FILES, SMALL)
        large = make_disk(folder / "large", LARGE_FILES, LARGE)
        print("| reader | start | unchanged | small files | large files | memory beside the agent's |")
        print("| --- | --- | --- | --- | --- | --- |")
        for reader, opened in (("host", on_host), ("vm", in_machine)):
            files, bulk = measured(small, opened), measured(large, opened)
            cells = (
                reader,
                f"{files.start:.1f} s",
                f"{SMALL_FILES / files.unchanged:,.0f} files/s",
                f"{SMALL_FILES / files.first:,.0f} files/s",
                f"{LARGE_FILES * LARGE / 1e6 / bulk.first:,.0f} MB/s",
                f"{max(files.memory, bulk.memory)} MiB",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
    return 0


def make_disk(path: Path, files: int, size: int) -> Path:
    path.touch()
    os.truncate(path, 512 * MIB)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", path], check=True)
    with loop_device(path) as device, mounted_for_writing(device, "ext4") as root:
        for number in range(files):
            folder = Path(f"/proc/self/fd/{root}/{number // 100}")
            folder.mkdir(exist_ok=True)
            (folder / f"file {number}").write_bytes(os.urandom(size))
    return path


@contextmanager
def on_host(disk: Path) -> Iterator[FileTree]:
    with loop_device(disk) as device, mounted_for_reading(device, "ext4") as root:
        yield HostTree(root)


@contextmanager
def in_machine(disk: Path) -> Iterator[FileTree]:
    image = load_image(READER_DIR)
    with disk.open("rb") as file, started(image, [file.fileno()], working_accelerator(image, READER_DIR)) as channel:
        yield mounted(channel, "ext4")


def measured(disk: Path, opened: Callable[[Path], AbstractContextManager[FileTree]]) -> Costs:
    repository = small_repository(MemoryBackend())
    times = [processor_seconds()]
    with opened(disk) as tree:
        times.append(processor_seconds())
        baseline = back_up(tree, repository, None)
        times.append(processor_seconds())
        back_up(tree, repository, baseline)
        times.append(processor_seconds())
        memory = sum(int(line.split()[1]) >> 10 for pid in children() for line in status(pid) if "VmHWM" in line)
    return Costs(*(after - before for before, after in pairwise(times)), memory=memory)


def processor_seconds() -> float:
    """Of this process, and of its children, whether they have ended or not."""
    ticks = sum(sum(map(int, stat(pid)[11:13])) for pid in children())
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def stat(pid: int) -> list[str]:
    """From the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


def back_up(tree: FileTree, repository: Repository, baseline: FilesBaseline | None) -> FilesBaseline:
    with repository.load_index().writer() as writer:
        result = backup_files(tree, writer, baseline=baseline)
    assert result.problem_count == 0
    assert result.node.subtree is not None
    return FilesBaseline(repository.load_index(), result.node.subtree)


if __name__ == "__main__":
    sys.exit(main())
