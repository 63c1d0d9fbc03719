"""New index files instead of old ones.

At every moment each pack that shall be in the index is named by a stored file: old ones go when the new are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.parallel import Workers
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blob import PackedBlob
from icebrick.repository.crypto import Key
from icebrick.repository.index.file import decode_index, encode_index
from icebrick.repository.index.load import IndexFile
from icebrick.repository.index.sortedids import Array
from icebrick.repository.unpacked import load_unpacked, save_unpacked

FULL = 50_000
"""Blobs in an index file, as in restic."""
SMALL = FULL // 8
"""Files with fewer are joined with others: each backup leaves one, and each costs a request when the index is read."""

EntriesOfPack = tuple[bytes, Sequence[PackedBlob]]


def files_to_rewrite(files: Sequence[IndexFile], kept: Array) -> tuple[IndexFile, ...]:
    """Those that name a pack that is not kept (by its number); and the small ones, if there are others to join."""
    stale = [file for file in files if not kept[file.packs.start : file.packs.stop].all()]
    small = [file for file in files if file.blobs < SMALL and kept[file.packs.start : file.packs.stop].all()]
    return (*stale, *(small if len(small) > 1 or (small and stale) else ()))


def rewritten(
    backend: Backend, key: Key, files: Sequence[IndexFile], kept: Array, progress: Progress = NO_PROGRESS
) -> Iterator[EntriesOfPack]:
    """What these files say of the packs that are kept."""
    if not files:
        return
    with progress.task("write index", total=len(files), unit="files") as task:
        for file in files:
            packs = decode_index(load_unpacked(backend, key, file.handle))
            for number, pack in zip(file.packs, packs, strict=True):
                if kept[number]:
                    yield pack
            task.advance(1)


def save_index_files(backend: Backend, key: Key, packs: Iterable[EntriesOfPack]) -> int:
    """As few as can be; how many."""
    batch: list[EntriesOfPack] = []
    blobs = saved = 0
    for pack in packs:
        batch.append(pack)
        blobs += len(pack[1])
        if blobs >= FULL:
            save_unpacked(backend, key, FileType.INDEX, encode_index(batch))
            batch, blobs, saved = [], 0, saved + 1
    if batch:
        save_unpacked(backend, key, FileType.INDEX, encode_index(batch))
        saved += 1
    return saved


def remove_files(backend: Backend, handles: Sequence[Handle], name: str, progress: Progress) -> None:
    """All of them, several at a time."""
    if not handles:
        return
    with progress.task(name, total=len(handles), unit="files") as task:

        def remove(handle: Handle) -> None:
            backend.remove(handle)
            task.advance(1)

        with Workers(remove, threads=backend.connections, name="remove") as workers:
            for handle in handles:
                workers.put(handle)
