"""Stores blobs for all that write to a repository in one run: packs first, then the index that names them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.blockdev import Data
from icebrick.parallel import Workers
from icebrick.repository.blob import PackedBlob
from icebrick.repository.crypto import Key
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.index.file import encode_index
from icebrick.repository.packer import FinishedPack, PackBuffers, Packer
from icebrick.repository.unpacked import save_unpacked

INDEX_BLOBS = 16384
"""An index file is written when this many blobs wait for it: what a run that dies has stored is found by the next."""

Known = Callable[[BlobType, bytes], bool]
AddPack = Callable[[bytes, list[PackedBlob]], None]


@dataclass(slots=True)
class _Filling:
    """A packer and the generation of the oldest blob in the pack under way."""

    packer: Packer
    generation: int = 0


class PackWriter:
    """Made by `BlobStore.pack_writer`, used through `BlobWriter`s. Methods may be called from any thread.

    A commit begins a new *generation*: it waits for the blobs of all before, and for none of those that others go
    on saving. A failure begins a new *epoch*: who was at work before may count on a blob that was lost, and is told;
    who begins afterwards is not concerned.
    """

    def __init__(self, backend: Backend, key: Key, known: Known, add_pack: AddPack) -> None:
        self._backend, self._key = backend, key
        self._known, self._add_pack = known, add_pack
        self._buffers = PackBuffers()
        self._changed = threading.Condition()  # guards all down to the empty line
        self._idle: dict[BlobType, list[_Filling]] = {blob_type: [] for blob_type in BlobType}
        self._underway: set[tuple[BlobType, bytes]] = set()  # not in an index file yet
        self._unstored: set[tuple[BlobType, bytes]] = set()  # those of them that are in no stored pack either
        self._unindexed: list[tuple[bytes, list[PackedBlob]]] = []
        self._generation = 0
        self._epoch = 0
        self._failure: BaseException | None = None

        self._flushing = threading.Lock()
        self._uploads: Workers[FinishedPack] = Workers(
            self._upload, threads=backend.connections, depth=1, name="upload"
        )

    @contextmanager
    def open(self) -> Iterator[PackWriter]:
        """See `BlobStore.pack_writer`."""
        with self._uploads:
            yield self

    @property
    def epoch(self) -> int:
        """For a caller to show at each call, as the one it began in."""
        with self._changed:
            return self._epoch

    def save(self, epoch: int, blob_type: BlobType, data: Data) -> tuple[bytes, int]:
        """Store a blob unless it is there already; its id, and the bytes that it takes, 0 when it was there."""
        blob_id = digest(data)
        with self._changed:
            self._check(epoch)
            if self._holds(blob_type, blob_id):
                return blob_id, 0
            self._underway.add((blob_type, blob_id))
            self._unstored.add((blob_type, blob_id))
            generation = self._generation
            idle = self._idle[blob_type]
            filling = idle.pop() if idle else None
        with self._failing():
            filling = filling or _Filling(Packer(self._key, blob_type, self._buffers))
            return blob_id, self._add(filling, generation, blob_id, data)

    def holds(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is in the repository, or will be by the next commit that does not fail."""
        with self._changed:
            return self._holds(blob_type, blob_id)

    def commit(self, epoch: int) -> None:
        """On return, all blobs that were saved or held before are in stored packs that stored index files name."""
        with self._changed:
            self._check(epoch)
            self._generation += 1
            generation, awaited = self._generation, set(self._underway)
        with self._failing(), self._flushing:  # one at a time: so memory is for one pack more, however many commit
            while (filling := self._take_older(generation)) is not None:
                self._finish(filling)
        self._wait(epoch, lambda: awaited.isdisjoint(self._unstored))
        with self._failing():
            self._save_index()
        self._wait(epoch, lambda: awaited.isdisjoint(self._underway))  # others may be saving the index file of some

    def _check(self, epoch: int) -> None:
        if self._failure is not None and epoch != self._epoch:
            raise self._failure

    def _holds(self, blob_type: BlobType, blob_id: bytes) -> bool:
        return (blob_type, blob_id) in self._underway or self._known(blob_type, blob_id)

    def _wait(self, epoch: int, done: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: epoch != self._epoch or done())
            self._check(epoch)

    def _add(self, filling: _Filling, generation: int, blob_id: bytes, data: Data) -> int:
        packer, before = filling.packer, filling.packer.stored
        if packer.empty:
            filling.generation = generation
        pack = packer.add(blob_id, data)
        stored = packer.stored - before
        if pack is not None:
            filling.generation = generation  # of what did not fit into it, if anything
            self._uploads.put(pack)
        if self._give_back(filling):
            return stored
        self._finish(filling)
        return stored

    def _give_back(self, filling: _Filling) -> bool:
        """False when its pack must be finished first: a commit waits for it."""
        with self._changed:
            if not filling.packer.empty and filling.generation < self._generation:
                return False
            self._idle[filling.packer.type].append(filling)
            return True

    def _take_older(self, generation: int) -> _Filling | None:
        with self._changed:
            for idle in self._idle.values():
                for number, filling in enumerate(idle):
                    if not filling.packer.empty and filling.generation < generation:
                        return idle.pop(number)
        return None

    def _finish(self, filling: _Filling) -> None:
        if (pack := filling.packer.finish()) is not None:
            self._uploads.put(pack)
        self._give_back(filling)

    def _upload(self, pack: FinishedPack) -> None:
        with suppress(BaseException), self._failing():  # carried to those it concerns, whatever it is
            with pack.view() as view:
                self._backend.save(Handle(FileType.PACK, pack.id.hex(), pack.has_trees), view)
            self._buffers.give_back(pack.buffer)
            if self._note_stored(pack) >= INDEX_BLOBS:
                self._save_index()

    def _note_stored(self, pack: FinishedPack) -> int:
        """How many blobs wait for an index file now."""
        with self._changed:
            self._unindexed.append((pack.id, list(pack.blobs)))
            self._unstored.difference_update((blob.type, blob.id) for blob in pack.blobs)
            self._changed.notify_all()
            return sum(len(blobs) for _, blobs in self._unindexed)

    def _save_index(self) -> None:
        with self._changed:
            packs, self._unindexed = self._unindexed, []
        if not packs:
            return
        try:
            save_unpacked(self._backend, self._key, FileType.INDEX, encode_index(packs))
        except BaseException:
            with self._changed:  # they are stored: a later index file may name them
                self._unindexed = packs + self._unindexed
            raise
        # Only now: what this writer dies with before is in no index file, so no other snapshot may build on it.
        for pack_id, blobs in packs:
            self._add_pack(pack_id, blobs)
        with self._changed:
            for _, blobs in packs:
                self._underway.difference_update((blob.type, blob.id) for blob in blobs)
            self._changed.notify_all()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What fails in the block ends the epoch. Which blobs are lost need not be known: none unstored counts."""
        try:
            yield
        except BaseException as error:
            with self._changed:
                self._epoch += 1
                self._failure = error
                self._underway -= self._unstored
                self._unstored.clear()
                self._changed.notify_all()
            raise
