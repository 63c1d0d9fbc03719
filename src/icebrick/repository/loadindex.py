"""The index of a repository: all its files, read into memory."""

from __future__ import annotations

from dataclasses import dataclass

from icebrick.backend.base import FileType, Handle, ReadBackend
from icebrick.errors import CorruptDataError
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.crypto import Key
from icebrick.repository.index import Index
from icebrick.repository.indexfile import decode_index
from icebrick.repository.unpacked import load_unpacked

MENDING = "'icebrick repair index' mends it."


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One of them, and the numbers in the index of the packs that it names."""

    handle: Handle
    packs: range
    blobs: int


@dataclass(frozen=True, slots=True)
class LoadedIndex:
    """What all files say together, and which file says what."""

    index: Index
    files: tuple[IndexFile, ...]


def load_index(backend: ReadBackend, key: Key, progress: Progress = NO_PROGRESS) -> LoadedIndex:
    """CorruptDataError when one of the files cannot be read."""
    index = Index()
    files: list[IndexFile] = []
    handles = [info.handle for info in backend.list_files(FileType.INDEX)]
    with progress.task("load index", total=len(handles), unit="files") as task:
        for handle in handles:
            files.append(_add_file(backend, key, handle, index))
            task.advance(1)
    return LoadedIndex(index, tuple(files))


def _add_file(backend: ReadBackend, key: Key, handle: Handle, index: Index) -> IndexFile:
    try:
        plain = load_unpacked(backend, key, handle)
    except CorruptDataError as error:
        raise CorruptDataError(str(error), hint=MENDING) from error
    first, blobs = index.pack_count, len(index)
    try:
        for pack_id, listed in decode_index(plain):
            index.add_pack(pack_id, listed)
    except CorruptDataError as error:
        raise CorruptDataError(f"{handle} is damaged: {error}", hint=MENDING) from error
    return IndexFile(handle, range(first, index.pack_count), len(index) - blobs)
