"""Repositories with something of everything, and what their snapshots must give."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.engine.block.backup import BlockOptions
from icebrick.engine.block.image import find_image
from icebrick.engine.block.restore import restore_image
from icebrick.errors import CorruptDataError
from icebrick.parallel import Slots
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import MODE_DIR, Node
from icebrick.secret import Secret
from icebrick.testing.bytesdevice import BytesSource, BytesTarget
from icebrick.testing.images import save_backup
from icebrick.testing.repositories import CHEAP, add_foreign_lock, add_tree, in_memory
from icebrick.testing.restic import Restic
from icebrick.testing.storedtrees import StoredTree

PASSWORDS = ("geheim", "another")
_KIB = 1 << 10
_SOME_TIME = Timestamp(1_600_000_000 * 10**9)

Content = Mapping[str, bytes]
"""Of each file and link by its path."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole repository, not to be changed, and the content of its snapshots by their ids."""

    name: str
    repository: Repository
    contents: Mapping[str, Content]

    @property
    def backend(self) -> Backend:
        return self.repository.backend.inner

    def files(self, file_type: FileType) -> list[Handle]:
        if file_type is FileType.CONFIG:
            return [Handle(FileType.CONFIG)]
        return sorted((info.handle for info in self.backend.list_files(file_type)), key=str)


@cache
def made_by_icebrick() -> Scene:
    """Two images of a volume and two backups of files."""
    repository = init_repository(MemoryBackend(), Secret(PASSWORDS[0]), parameters=CHEAP)
    chance = random.Random(5)
    image = chance.randbytes(192 * _KIB) + bytes(128 * _KIB)
    options = BlockOptions(64 * _KIB, Slots(2))
    first = save_backup(repository, BytesSource(image), options=options).snapshot_id
    changed = image[: 64 * _KIB] + chance.randbytes(64 * _KIB) + image[128 * _KIB :]
    save_backup(repository, BytesSource(changed), parent=first, options=options)
    files = {"etc": {"hosts": b"127.0.0.1", "link": "hosts"}, "data": chance.randbytes(20_000), "empty": b""}
    add_tree(repository, files, 1)
    add_tree(repository, {**files, "new": {"deep": {"file": chance.randbytes(9_000)}}}, 2)
    return _finished("icebrick", repository)


@cache
def made_by_restic(program: str) -> Scene:
    """Two backups of folders."""
    with tempfile.TemporaryDirectory(prefix="icebrick-corruption-") as name:
        place = Path(name)
        stock = Restic(program, place / "repository", PASSWORDS[0])
        stock.run("init")
        chance = random.Random(6)
        for folder in ("one", "two"):
            (place / folder / "below").mkdir(parents=True)
            (place / folder / "file").write_bytes(chance.randbytes(20_000))
            (place / folder / "below" / "other").write_bytes(chance.randbytes(5_000))
            os.symlink("file", place / folder / "link")
            stock.run("backup", str(place / folder))
        with closing(LocalBackend(stock.repository)) as backend:
            repository = open_repository(in_memory(backend), Secret(PASSWORDS[0]))
    slow = [info.handle for info in repository.backend.list_files(FileType.KEY)]
    repository.key_id = repository.add_key(Secret(PASSWORDS[0]), parameters=CHEAP).id
    for handle in slow:  # to open it takes as long as it shall, which here is many times too long
        repository.backend.remove(handle)
    return _finished("restic", repository)


def _finished(name: str, repository: Repository) -> Scene:
    repository.add_key(Secret(PASSWORDS[1]), parameters=CHEAP)
    for _ in range(2):
        add_foreign_lock(repository)
    store = repository.load_index()
    contents = {snapshot.id or "": restored(snapshot, store) for snapshot in repository.snapshots()}
    return Scene(name, repository, contents)


def restored(snapshot: Snapshot, store: BlobStore) -> Content:
    """What a restore gives, of an image both ways there are.

    CorruptDataError also when a restore tells of files that it could not restore.
    """
    image = find_image(store, snapshot.tree)
    target = BytesTarget(0 if image is None else image.size)
    if image is not None:
        restore_image(image, store, target, options=BlockOptions(slots=Slots(2)))
    return {**_restored_files(snapshot, store), "": target.content()}


def _restored_files(snapshot: Snapshot, store: BlobStore) -> Content:
    with tempfile.TemporaryDirectory(prefix="icebrick-corruption-") as name:
        root = Node("root", type="dir", mode=MODE_DIR | 0o755, mtime=_SOME_TIME, subtree=snapshot.tree)
        stats = StoredTree(root, store).restore(Path(name))
        if stats.problems:
            raise CorruptDataError(str(stats.first_problems[0]))
        return {str(path.relative_to(name)): _content(path) for path in Path(name).rglob("*") if not _is_folder(path)}


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _content(path: Path) -> bytes:
    return os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
