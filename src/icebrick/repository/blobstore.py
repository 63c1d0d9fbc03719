"""Blobs by their ids: found through the index, read from packs, written to packs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.blockdev import Data
from icebrick.errors import CorruptDataError, FileMissingError, ShortReadError
from icebrick.parallel import Pool, Slots
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blob import BlobDecoder, PackedBlob
from icebrick.repository.blobwriter import BlobWriter, open_writer
from icebrick.repository.crypto import Key
from icebrick.repository.ids import BlobType
from icebrick.repository.index.index import Index, Places
from icebrick.repository.index.load import load_index
from icebrick.repository.packwriter import PackWriter

log = logging.getLogger(__name__)

MAX_GAP = 64 << 10
MAX_READ = 17 << 20
"""A pack of the usual size is one read: some servers take longer for two ranges of a file than for all of it."""


class BlobStore:
    """All blobs of a repository whose index is in memory. Methods may be called from any thread."""

    def __init__(self, backend: Backend, key: Key, index: Index) -> None:
        self._backend = backend
        self._key = key
        self._index = index
        self._index_lock = threading.Lock()  # guards _index
        self._decoders = Pool(lambda: BlobDecoder(key))
        self._reads = threading.BoundedSemaphore(backend.connections)  # of packs, each held until all of it is used

    @property
    def connections(self) -> int:
        """How many loads at once the backend serves well."""
        return self._backend.connections

    def find(self, blob_type: BlobType, blob_id: bytes) -> tuple[bytes, PackedBlob] | None:
        """The pack a blob lies in and its place there, or None."""
        with self._index_lock:
            return self._index.find(blob_type, blob_id)

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is in the repository."""
        with self._index_lock:
            return self._index.has(blob_type, blob_id)

    def has_all(self, blob_type: BlobType, ids: bytes) -> bool:
        """Whether all of these blobs (packed ids, 32 bytes each) are in the repository."""
        with self._index_lock:
            return self._index.has_all(blob_type, ids)

    def size(self, blob_type: BlobType, blob_id: bytes) -> int:
        """Of the plaintext, in bytes; CorruptDataError when there is no such blob."""
        return self._get(blob_type, blob_id)[1].size

    def load(self, blob_type: BlobType, blob_id: bytes) -> bytes:
        """The plaintext, proven to have this id; CorruptDataError when it is damaged or missing."""
        pack, blob = self._get(blob_type, blob_id)
        handle = _pack_handle(pack, trees=blob_type is BlobType.TREE)
        sealed = self._read(handle, blob.offset, blob.end)
        with self._decoders.borrow() as decoder:
            return bytes(self._proven(decoder, blob, memoryview(sealed), handle))

    def load_part(self, pack: bytes, offset: int, length: int) -> bytes:
        """What is stored in a pack of trees there, as it is; less where the pack ends.

        CorruptDataError when it is not there.
        """
        handle = _pack_handle(pack, trees=True)
        try:
            end = min(offset + length, self._backend.stat(handle).size)
        except FileMissingError as error:
            raise CorruptDataError(f"a pack that the index names is missing: {error}") from error
        return self._read(handle, offset, max(offset, end))

    def open_blob(self, pack: bytes, blob: PackedBlob, sealed: memoryview) -> bytes:
        """The plaintext of what was loaded, proven to have the blob's id; CorruptDataError when it is damaged."""
        with self._decoders.borrow() as decoder:
            return bytes(self._proven(decoder, blob, sealed, _pack_handle(pack)))

    def places(self, ids: bytes) -> Places:
        """Of many data blobs at once; see `Index.places`."""
        with self._index_lock:
            return self._index.places(ids)

    def load_many(
        self, pack: int, blobs: list[PackedBlob], use: Callable[[int, Data], None], slots: Slots | None = None
    ) -> None:
        """Load blobs of one pack (its number from `places`), sorted by offset, in as few reads as is sensible.

        Calls `use` with the number of each blob in the list and its proven plaintext, valid during the call.
        With `slots`, that is done in one, and reading is not: as many reads as the backend serves well are under way or
        wait for a slot, whoever calls; the caller must not have one. CorruptDataError when a blob is damaged, or the
        pack is not there.
        """
        with self._index_lock:
            trees = bool(blobs) and blobs[0].type is BlobType.TREE
            handle = _pack_handle(self._index.pack_id(pack), trees=trees)
        for first, last in _coalesce(blobs):
            with self._reads:  # in a function of its own, so that nobody who waits here holds what was read before
                self._load_together(handle, dict(enumerate(blobs[first:last], first)), use, slots)

    def _load_together(
        self, handle: Handle, blobs: dict[int, PackedBlob], use: Callable[[int, Data], None], slots: Slots | None
    ) -> None:
        """In one read. `blobs` by the numbers that `use` knows them by."""
        start, end = min(blob.offset for blob in blobs.values()), max(blob.end for blob in blobs.values())
        sealed = memoryview(self._read(handle, start, end))
        with slots.take() if slots else nullcontext(), self._decoders.borrow() as decoder:
            for number, blob in blobs.items():
                use(number, self._proven(decoder, blob, sealed[blob.offset - start : blob.end - start], handle))

    def _read(self, handle: Handle, start: int, end: int) -> bytes:
        try:
            return self._backend.load(handle, offset=start, length=end - start)
        except (FileMissingError, ShortReadError) as error:
            raise CorruptDataError(f"a pack that the index names is damaged: {error}") from error

    def _proven(self, decoder: BlobDecoder, blob: PackedBlob, sealed: memoryview, handle: Handle) -> Data:
        """What is wrong may have been spoiled on its way: it is read once more."""
        try:
            return decoder.decode(blob, sealed)
        except CorruptDataError as error:
            log.warning("file=%s offset=%d reading it again: %s", handle, blob.offset, error)
        again = self._read(handle, blob.offset, blob.end)
        try:
            return decoder.decode(blob, memoryview(again))
        except CorruptDataError as error:
            raise CorruptDataError(f"{handle} is damaged: {error}") from error

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """A block in which blobs can be saved: left normally, all of them and the index are durable.

        Left by an exception, no more is written; packs already stored stay, unused until the index is rebuilt, apart
        from those of the index files written on the way.
        """
        with self.pack_writer() as packs, open_writer(packs) as writer:
            yield writer

    def pack_writer(self) -> AbstractContextManager[PackWriter]:
        """A block in which several save blobs, each with a writer of its own (`blobwriter.open_writer`).

        It commits nothing: that is for each of them. What nobody has committed may be lost.
        """
        return PackWriter(self._backend, self._key, self._known, self._add_pack).open()

    def _known(self, blob_type: BlobType, blob_id: bytes) -> bool:
        return self.has(blob_type, blob_id)

    def _add_pack(self, pack_id: bytes, blobs: list[PackedBlob]) -> None:
        with self._index_lock:
            self._index.add_pack(pack_id, blobs)

    def _get(self, blob_type: BlobType, blob_id: bytes) -> tuple[bytes, PackedBlob]:
        found = self.find(blob_type, blob_id)
        if found is None:
            raise CorruptDataError(f"{blob_type.value} blob {blob_id.hex()} is in no index")
        return found


def _coalesce(blobs: list[PackedBlob]) -> Iterator[tuple[int, int]]:
    """Ranges of the list that are worth one read each."""
    first = 0
    for number in range(1, len(blobs) + 1):
        if number < len(blobs):
            near = blobs[number].offset <= blobs[number - 1].end + MAX_GAP
            if near and blobs[number].end - blobs[first].offset <= MAX_READ:
                continue
        yield first, number
        first = number


def _pack_handle(pack_id: bytes, *, trees: bool = False) -> Handle:
    return Handle(FileType.PACK, pack_id.hex(), trees)


def load_blobstore(backend: Backend, key: Key, progress: Progress = NO_PROGRESS) -> BlobStore:
    """Read all index files. List the snapshots first: what they name must be in an index listed after them."""
    return BlobStore(backend, key, load_index(backend, key, progress).index)
