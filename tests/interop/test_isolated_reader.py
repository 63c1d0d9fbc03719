"""The same tree by either reader: a virtual machine, and this host's own mount."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file.backup import FilesResult, backup_files
from icebrick.engine.file.base import FileTree
from icebrick.engine.file.guesttree import mounted
from icebrick.engine.file.hosttree import HostTree
from icebrick.filesystem.base import TYPES
from icebrick.filesystem.mount import mounted_for_reading, mounted_for_writing
from icebrick.kernel import sync_file_system
from icebrick.microvm.channel import Channel
from icebrick.microvm.image import Image
from icebrick.microvm.machine import started
from icebrick.testing.images import small_repository
from icebrick.testing.loopdevice import loop_device
from icebrick.testing.oddtree import plant

pytestmark = pytest.mark.slow
SIZE = 320 << 20


@pytest.fixture(scope="module")
def disks(root: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of each type one that was in use when it was copied: what was written last is in its journal alone."""
    folder = tmp_path_factory.mktemp("disks")
    return {file_system: make_disk(folder, file_system) for file_system in TYPES}


def make_disk(folder: Path, file_system: str) -> Path:
    backing, frozen = folder / f"{file_system}.used", folder / file_system
    backing.touch()
    os.truncate(backing, SIZE)
    subprocess.run([f"/usr/sbin/mkfs.{file_system}", "-q", backing], check=True, capture_output=True)
    with loop_device(backing) as device, mounted_for_writing(device, file_system) as root:
        plant(Path(f"/proc/self/fd/{root}"), entries=300)
        sync_file_system(root)
        with open(os.open("late", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=root), "wb") as file:
            file.write(b"only in the journal")
            file.flush()
            os.fsync(file.fileno())
        subprocess.run(["cp", "--sparse=always", backing, frozen], check=True)
    backing.unlink()
    return frozen


@pytest.fixture(scope="module")
def guest(disks: dict[str, Path], boot_image: Image) -> Iterator[Channel]:
    with ExitStack() as opened:
        files = [opened.enter_context(disks[file_system].open("rb")) for file_system in TYPES]
        yield opened.enter_context(started(boot_image, [file.fileno() for file in files]))


def save(tree: FileTree) -> FilesResult:
    repository = small_repository(MemoryBackend())
    with repository.load_index().writer() as writer:
        return backup_files(tree, writer)


@pytest.mark.parametrize("file_system", TYPES)
def test_a_file_system_in_use_is_read_alike(
    file_system: str, disks: dict[str, Path], guest: Channel, tmp_path: Path
) -> None:
    before = disks[file_system].read_bytes()
    isolated = save(mounted(guest, file_system, TYPES.index(file_system)))
    assert disks[file_system].read_bytes() == before
    shutil.copyfile(disks[file_system], tmp_path / "disk")
    with loop_device(tmp_path / "disk") as device, mounted_for_reading(device, file_system) as root:
        own = save(HostTree(root))
    assert isolated.problems == own.problems == ()
    assert isolated.stats == own.stats
    assert isolated.node == own.node
    assert isolated.node.subtree is not None
