"""Files on real file systems: backed up, made again elsewhere and restored by ours, and restored by stock restic."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.engine.file.backup import backup_files
from icebrick.engine.file.hosttree import HostTree
from icebrick.engine.file.options import FileRestoreOptions
from icebrick.engine.file.restore import restore_files
from icebrick.engine.file.verify import verify_files
from icebrick.filesystem.base import FileSystem
from icebrick.filesystem.detect import detect
from icebrick.filesystem.make import make_file_system
from icebrick.filesystem.mount import mounted_for_reading, mounted_for_writing
from icebrick.filesystem.record import decode_record, encode_record
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import Repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import now
from icebrick.repository.tree import Node, decode_tree, encode_tree
from icebrick.testing.images import PASSWORD, small_repository
from icebrick.testing.loopdevice import loop_device
from icebrick.testing.oddtree import Described, describe, plant
from icebrick.testing.restic import Restic
from icebrick.testing.storedtrees import opened

pytestmark = pytest.mark.slow
SIZE = 320 << 20


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    backend = LocalBackend(tmp_path / "repository")
    small_repository(backend)
    yield open_repository(backend, PASSWORD)
    backend.close()


@pytest.fixture
def program(restic: str, repository: Repository, tmp_path: Path) -> Restic:
    return Restic(restic, tmp_path / "repository", PASSWORD.reveal())


def image(path: Path) -> Path:
    path.touch()
    os.truncate(path, SIZE)
    return path


def save(repository: Repository, root: int) -> str:
    """The id of a snapshot of all below the open directory."""
    with repository.load_index().writer() as writer:
        result = backup_files(HostTree(root), writer)
        assert result.problems == ()
        tree = writer.save(BlobType.TREE, bytes(encode_tree([result.node])))
    return repository.save_snapshot(Snapshot(now(), tree, ("/files",), "host"))


def load(repository: Repository, snapshot_id: str) -> tuple[Node, BlobStore]:
    """What stands for the root in a snapshot."""
    tree = repository.load_snapshot(snapshot_id).tree
    store = repository.load_index()
    (node,) = decode_tree(store.load(BlobType.TREE, tree))
    return node, store


def as_restic_restores(described: Mapping[bytes, Described]) -> dict[bytes, Described]:
    """Less what the restic of Debian 12 does not restore, even of its own backups.

    Those are sockets, extended attributes of symbolic links, their targets where these are not UTF-8, and that other
    things than files have several names.
    """
    return {
        path: entry if stat.S_ISREG(entry.mode) else _as_restic_restores(entry)
        for path, entry in described.items()
        if not stat.S_ISSOCK(entry.mode)
    }


def _as_restic_restores(entry: Described) -> Described:
    entry = replace(entry, links=0, same_as=b"")
    if stat.S_ISLNK(entry.mode):
        return replace(entry, target=entry.target.decode(errors="replace").encode(), attributes={})
    return entry


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(("file_system", "entries"), [("ext4", 10_000), ("xfs", 500), ("btrfs", 500)])
def test_a_file_system_comes_back_as_it_was(
    file_system: str, entries: int, repository: Repository, program: Restic, tmp_path: Path
) -> None:
    source = image(tmp_path / "source")
    subprocess.run([f"/usr/sbin/mkfs.{file_system}", "-q", "-L", "my label", source], check=True, capture_output=True)
    with loop_device(source) as device:
        with mounted_for_writing(device, file_system) as root:
            plant(Path(f"/proc/self/fd/{root}"), entries=entries)
            original = describe(root)
        with mounted_for_reading(device, file_system) as root:
            snapshot_id = save(repository, root)
            assert describe(root) == original
        found = detect(device)
    assert isinstance(found, FileSystem)
    # The source is gone now, as a lost volume is: mkfs.btrfs gives no UUID a second time.
    with loop_device(image(tmp_path / "target")) as device:
        make_file_system(device, decode_record(encode_record(found), "filesystem.json"))
        assert detect(device) == found
        node, store = load(repository, snapshot_id)
        with mounted_for_writing(device, file_system) as root:
            stats = restore_files(node, store, root, options=FileRestoreOptions(delete_extra=True))
            assert (stats.problems, stats.first_problems) == (0, [])
        with mounted_for_reading(device, file_system) as root:
            assert describe(root) == original
            assert verify_files(node, store, HostTree(root)).mismatches == 0
    program.run("restore", snapshot_id, "--target", str(tmp_path / "restic"))
    restored = describe(tmp_path / "restic" / "files")
    assert as_restic_restores(restored) == as_restic_restores(original)


@pytest.mark.usefixtures("root")
def test_what_stock_restic_backed_up_is_restored(program: Restic, repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    plant(tmp_path / "source", entries=100)
    program.run("backup", str(tmp_path / "source"))
    node, store = _find(repository, tmp_path / "source")
    (tmp_path / "target").mkdir()
    with opened(tmp_path / "target") as target:
        assert restore_files(node, store, target).problems == 0
        assert verify_files(node, store, HostTree(target)).mismatches == 0
    restored, original = describe(tmp_path / "target"), describe(tmp_path / "source")
    assert as_restic_restores(restored) == as_restic_restores(original)


def _find(repository: Repository, folder: Path) -> tuple[Node, BlobStore]:
    """The node of a folder in the only snapshot."""
    (snapshot,) = repository.snapshots()
    store = repository.load_index()
    node = Node("", type="dir", subtree=snapshot.tree)
    for name in folder.parts[1:]:
        assert node.subtree is not None
        node = next(node for node in decode_tree(store.load(BlobType.TREE, node.subtree)) if node.name == name)
    return node, store
