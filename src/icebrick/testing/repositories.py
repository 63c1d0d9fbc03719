"""Small repositories with something of everything, for tests of what reads them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.configfile import new_config, save_config
from icebrick.repository.crypto import Key
from icebrick.repository.ids import BlobType
from icebrick.repository.keyfile import ScryptParameters, create_key
from icebrick.repository.lockfile import Host, LockFile, save_lock_file
from icebrick.repository.repository import Repository, init_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp, now
from icebrick.repository.tree import MODE_DIR, MODE_SYMLINK, Node, encode_tree
from icebrick.secret import Secret

CHEAP = ScryptParameters(n=2)
"""For keys that protect nothing: opens at once."""

_SOME_TIME = Timestamp(1_600_000_000 * 10**9)

Tree = Mapping[str, "Tree | bytes | str"]
"""A directory: files by their content, symbolic links by their targets, other directories."""


def empty_repository(key: Key) -> MemoryBackend:
    """A new repository whose master key the caller knows, for tests of what is below a `Repository`."""
    backend = MemoryBackend()
    create_key(backend, key, Secret("geheim"), parameters=CHEAP)
    save_config(backend, key, new_config())
    return backend


def make_repository(backend: Backend, password: Secret, *, host: Host | None = None) -> Repository:
    """Two keys, two snapshots of different files, each in packs and an index file of its own."""
    repository = init_repository(backend, password, parameters=CHEAP, host=host)
    repository.add_key(Secret("another"), parameters=CHEAP)
    for number in (1, 2):
        add_snapshot(repository, {f"file {number}": _noise(number), "empty": b""}, number)
    return repository


def add_snapshot(repository: Repository, files: Mapping[str, bytes], second: int = 0) -> str:
    """The id of a new snapshot of a directory `files`; the files are cut into blobs of at most 8,000 bytes."""
    with repository.load_index().writer() as writer:
        nodes = [_store_file(writer, name, content) for name, content in files.items()]
        subtree = writer.save(BlobType.TREE, encode_tree(nodes))
        directory = Node("files", type="dir", mode=MODE_DIR | 0o755, subtree=subtree)
        tree = writer.save(BlobType.TREE, encode_tree([directory]))
    return repository.save_snapshot(Snapshot(Timestamp(second * 10**9), tree, ("/files",), "host"))


def add_tree(
    repository: Repository,
    root: Tree,
    second: int = 0,
    *,
    paths: tuple[str, ...] = ("/files",),
    tags: tuple[str, ...] = (),
) -> str:
    """The id of a new snapshot whose root is this directory."""
    with repository.load_index().writer() as writer:
        tree = _store_tree(writer, root)
    return repository.save_snapshot(Snapshot(Timestamp(second * 10**9), tree, paths, "host", tags=tags))


def _store_tree(writer: BlobWriter, tree: Tree) -> bytes:
    return writer.save(BlobType.TREE, encode_tree(_store_entry(writer, name, entry) for name, entry in tree.items()))


def _store_entry(writer: BlobWriter, name: str, entry: Tree | bytes | str) -> Node:
    match entry:
        case bytes():
            return _store_file(writer, name, entry)
        case str():
            return Node(name, type="symlink", mode=MODE_SYMLINK | 0o777, mtime=_SOME_TIME, linktarget=entry)
        case _:
            tree = _store_tree(writer, entry)
            return Node(name, type="dir", mode=MODE_DIR | 0o755, mtime=_SOME_TIME, subtree=tree)


def _noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(20_000)  # noqa: S311 - the same in every run


def _store_file(writer: BlobWriter, name: str, content: bytes) -> Node:
    pieces = [content[start : start + 8000] for start in range(0, len(content), 8000)]
    ids = b"".join(writer.save(BlobType.DATA, piece) for piece in pieces)
    return Node(name, mode=0o644, mtime=_SOME_TIME, size=len(content), content=ids)


def add_foreign_lock(repository: Repository) -> None:
    """A shared lock of a process on another host."""
    save_lock_file(repository.backend, repository.key, LockFile(now(), False, "elsewhere", "alice", 7))


def copy_files(source: Backend, target: Backend) -> None:
    """Every file, bytes as they are."""
    for file_type in FileType:
        if file_type is FileType.CONFIG:
            target.save(Handle(file_type), source.load(Handle(file_type)))
            continue
        for info in source.list_files(file_type):
            target.save(info.handle, source.load(info.handle))


def in_memory(source: Backend) -> MemoryBackend:
    """A copy to be damaged."""
    copy = MemoryBackend()
    copy_files(source, copy)
    return copy
