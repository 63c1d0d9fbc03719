"""The index of a repository: all its files, read into memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from icebrick.backend.base import FileType, Handle, ReadBackend
from icebrick.errors import CorruptDataError
from icebrick.parallel import Workers
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.crypto import Key
from icebrick.repository.index.columns import decode_columns
from icebrick.repository.index.file import decode_index
from icebrick.repository.index.index import Index
from icebrick.repository.unpacked import load_unpacked

MAX_READERS = 4
"""Index files in memory at once."""
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
    lock = threading.Lock()  # guards both
    handles = [info.handle for info in backend.list_files(FileType.INDEX)]
    with progress.task("load index", total=len(handles), unit="files") as task:

        def load(handle: Handle) -> None:
            plain = _load(backend, key, handle)
            with lock:  # decoding too: it takes several times the memory of the file
                files.append(_add_file(handle, plain, index))
            task.advance(1)

        with Workers(load, threads=min(backend.connections, MAX_READERS), name="index") as workers:
            for handle in handles:
                workers.put(handle)
    return LoadedIndex(index, tuple(files))


def _load(backend: ReadBackend, key: Key, handle: Handle) -> bytes:
    try:
        return load_unpacked(backend, key, handle)
    except CorruptDataError as error:
        raise CorruptDataError(str(error), hint=MENDING) from error


def _add_file(handle: Handle, plain: bytes, index: Index) -> IndexFile:
    first, blobs = index.pack_count, len(index)
    try:
        if (columns := decode_columns(plain)) is not None:
            index.add_columns(columns)
        else:
            for pack_id, listed in decode_index(plain):
                index.add_pack(pack_id, listed)
    except CorruptDataError as error:
        raise CorruptDataError(f"{handle} is damaged: {error}", hint=MENDING) from error
    return IndexFile(handle, range(first, index.pack_count), len(index) - blobs)
