from __future__ import annotations

import random
import threading

import pytest

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.blockdev import Data
from icebrick.errors import BackendUnavailableError, CorruptDataError
from icebrick.parallel import Workers
from icebrick.repository.blobstore import BlobStore, load_blobstore
from icebrick.repository.crypto import Key
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.index.file import decode_index
from icebrick.repository.index.index import Index
from icebrick.repository.packer import PackBuffers
from icebrick.repository.unpacked import load_unpacked
from icebrick.testing.faults import Fault, FaultyBackend, Kind, Op
from icebrick.testing.images import RecordingBackend
from icebrick.testing.repositories import empty_repository

DATA, TREE = BlobType.DATA, BlobType.TREE
pytestmark = pytest.mark.usefixtures("no_thread_outlives_its_test")


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many packs and several index files from little data."""
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", 16 << 10)
    monkeypatch.setattr("icebrick.repository.packwriter.INDEX_BLOBS", 10)


def blobs(count: int, seed: int = 0, size: int = 4000) -> list[bytes]:
    """Data that cannot be compressed."""
    chance = random.Random(seed)
    return [chance.randbytes(size) for _ in range(count)]


def indexed_packs(backend: Backend, key: Key, name: str) -> list[str]:
    return [pack.hex() for pack, _ in decode_index(load_unpacked(backend, key, Handle(FileType.INDEX, name)))]


def names(backend: Backend, file_type: FileType) -> set[str]:
    return {info.handle.name for info in backend.list_files(file_type)}


def write(store: BlobStore, wanted: list[bytes]) -> None:
    with store.writer() as writer:
        for data in wanted:
            writer.save(DATA, data)


def assert_holds(backend: Backend, key: Key, wanted: list[bytes]) -> None:
    found = load_blobstore(backend, key)
    for data in wanted:
        assert found.load(DATA, digest(data)) == data


def test_what_was_saved_is_found_by_another_process(backend: RecordingBackend, store: BlobStore, key: Key) -> None:
    wanted = [*blobs(40), b"", b"x", bytes(100_000)]
    write(store, wanted)
    assert_holds(backend, key, wanted)


def test_the_id_of_a_blob_is_the_digest_of_its_plaintext(store: BlobStore) -> None:
    with store.writer() as writer:
        assert writer.save(DATA, b"abc") == digest(b"abc")


def test_data_and_trees_with_one_content_are_two_blobs(backend: RecordingBackend, store: BlobStore, key: Key) -> None:
    with store.writer() as writer:
        writer.save(DATA, b"same")
        assert not writer.holds(TREE, digest(b"same"))
        writer.save(TREE, b"same")
    found = load_blobstore(backend, key)
    assert found.load(DATA, digest(b"same")) == found.load(TREE, digest(b"same")) == b"same"
    assert len(backend.saved_of(FileType.PACK)) == 2


def test_a_pack_is_stored_before_any_index_file_that_names_it(
    backend: RecordingBackend, store: BlobStore, key: Key
) -> None:
    write(store, blobs(100))
    stored: set[str] = set()
    index_files = 0
    for handle in backend.saved:
        if handle.type is FileType.INDEX:
            index_files += 1
            assert set(indexed_packs(backend, key, handle.name)) <= stored
        else:
            stored.add(handle.name)
    assert index_files > 3


def test_every_pack_is_in_exactly_one_index_file(backend: RecordingBackend, store: BlobStore, key: Key) -> None:
    write(store, blobs(100))
    named = [pack for name in backend.saved_of(FileType.INDEX) for pack in indexed_packs(backend, key, name)]
    assert sorted(named) == sorted(backend.saved_of(FileType.PACK))


def test_what_is_there_already_is_not_stored_again(backend: RecordingBackend, store: BlobStore, key: Key) -> None:
    write(store, blobs(20))
    backend.saved.clear()
    write(load_blobstore(backend, key), blobs(20))
    assert backend.saved == []


def test_saving_nothing_writes_nothing(backend: RecordingBackend, store: BlobStore) -> None:
    write(store, [])
    assert backend.saved == []


def test_the_statistics_count_what_was_added_and_nothing_else(backend: RecordingBackend, store: BlobStore) -> None:
    write(store, blobs(3))
    with store.writer() as writer:
        for data in blobs(5):
            writer.save(DATA, data)
        writer.save(TREE, b"tree")
    stats = writer.stats
    assert (stats.data_blobs, stats.tree_blobs, stats.bytes_added) == (2, 1, 8004)
    added = [(DATA, data) for data in blobs(5)[3:]] + [(TREE, b"tree")]
    places = [store.find(blob_type, digest(data)) for blob_type, data in added]
    assert stats.bytes_packed == sum(place[1].length for place in places if place)


def test_a_writer_holds_what_it_was_given_before_that_is_stored(backend: RecordingBackend, store: BlobStore) -> None:
    with store.writer() as writer:
        assert not writer.holds(DATA, digest(b"abc"))
        writer.save(DATA, b"abc")
        assert writer.holds(DATA, digest(b"abc"))
        assert backend.saved == []


def test_after_an_exception_in_the_block_nothing_more_is_written(backend: RecordingBackend, store: BlobStore) -> None:
    with pytest.raises(KeyboardInterrupt), store.writer() as writer:
        writer.save(DATA, b"abc")
        raise KeyboardInterrupt
    assert backend.saved == []


def test_what_an_interrupted_writer_stored_is_not_taken_for_indexed_by_the_next(
    backend: RecordingBackend, store: BlobStore, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icebrick.repository.packwriter.INDEX_BLOBS", 1 << 20)
    with pytest.raises(KeyboardInterrupt), store.writer() as writer:
        for data in blobs(20):
            writer.save(DATA, data)
        raise KeyboardInterrupt
    assert backend.saved_of(FileType.PACK)
    write(store, blobs(20))
    assert_holds(backend, key, blobs(20))


def test_a_writer_does_not_rely_on_packs_that_another_has_not_indexed_yet(
    backend: RecordingBackend, store: BlobStore, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icebrick.repository.packwriter.INDEX_BLOBS", 1 << 20)
    with pytest.raises(KeyboardInterrupt), store.writer() as slow:
        for data in blobs(20):
            slow.save(DATA, data)
        write(store, blobs(20))
        raise KeyboardInterrupt
    assert_holds(backend, key, blobs(20))


def test_what_a_killed_run_indexed_on_the_way_is_not_stored_again(
    backend: RecordingBackend, store: BlobStore, key: Key
) -> None:
    with pytest.raises(KeyboardInterrupt), store.writer() as writer:
        for data in blobs(100):
            writer.save(DATA, data)
        raise KeyboardInterrupt
    known = load_blobstore(backend, key)
    saved_before = sum(known.has(DATA, digest(data)) for data in blobs(100))
    assert saved_before >= 50
    with known.writer() as again:
        for data in blobs(100):
            again.save(DATA, data)
    assert again.stats.data_blobs == 100 - saved_before
    assert_holds(backend, key, blobs(100))


def test_a_save_that_failed_ends_the_writer_even_if_the_caller_goes_on(
    backend: RecordingBackend, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*_: object) -> None:
        raise CorruptDataError("a bit flipped in memory")

    with pytest.raises(CorruptDataError, match="a bit flipped"), store.writer() as writer:
        writer.save(DATA, b"before")
        with monkeypatch.context() as patch, pytest.raises(CorruptDataError):
            patch.setattr("icebrick.repository.packer.Packer.add", add)
            writer.save(DATA, b"lost")
        writer.save(DATA, b"lost")
    assert backend.saved == []


def saves_of(wanted: list[bytes], key: Key) -> int:
    counting = RecordingBackend(empty_repository(key))
    write(BlobStore(counting, key, Index()), wanted)
    return len(counting.saved)


@pytest.mark.parametrize("kind", [Kind.BEFORE, Kind.AFTER])
def test_whichever_save_fails_the_caller_is_told_and_no_index_names_what_is_not_there(kind: Kind, key: Key) -> None:
    wanted = blobs(40)
    for number in range(1, saves_of(wanted, key) + 1):
        inner = empty_repository(key)
        with pytest.raises(BackendUnavailableError):
            write(BlobStore(FaultyBackend(inner, [Fault(Op.SAVE, number, kind)]), key, Index()), wanted)
        named = {pack for name in names(inner, FileType.INDEX) for pack in indexed_packs(inner, key, name)}
        assert named <= names(inner, FileType.PACK)
        write(load_blobstore(inner, key), wanted)
        assert_holds(inner, key, wanted)


def test_the_same_store_can_be_written_after_any_save_failed(key: Key) -> None:
    wanted = blobs(40)
    for number in range(1, saves_of(wanted, key) + 1):
        inner = empty_repository(key)
        store = BlobStore(FaultyBackend(inner, [Fault(Op.SAVE, number)]), key, Index())
        with pytest.raises(BackendUnavailableError):
            write(store, wanted)
        write(store, wanted)
        assert_holds(inner, key, wanted)


def test_threads_that_save_the_same_blobs_store_each_once(
    backend: RecordingBackend, store: BlobStore, key: Key
) -> None:
    wanted = blobs(60, size=1500)
    chance = random.Random(5)
    with store.writer() as writer, Workers(lambda data: writer.save(DATA, data) and None, threads=8) as workers:
        for _ in range(8):
            for data in chance.sample(wanted, len(wanted)):
                workers.put(data)
    stored = [
        blob.id
        for name in backend.saved_of(FileType.INDEX)
        for _, packed in decode_index(load_unpacked(backend, key, Handle(FileType.INDEX, name)))
        for blob in packed
    ]
    assert sorted(stored) == sorted(map(digest, wanted))
    assert writer.stats.data_blobs == 60
    assert_holds(backend, key, wanted)


def test_a_buffer_is_not_reused_while_its_pack_is_being_stored(key: Key) -> None:
    class Slow(RecordingBackend):
        """Reads what it is given only after others had the time to spoil it."""

        def save(self, handle: Handle, data: Data) -> None:
            threading.Event().wait(0.01)
            assert handle.type is not FileType.PACK or digest(data).hex() == handle.name
            super().save(handle, data)

    wanted = blobs(60)
    backend = Slow(empty_repository(key))
    with (
        BlobStore(backend, key, Index()).writer() as writer,
        Workers(lambda data: writer.save(DATA, data) and None, threads=4) as workers,
    ):
        for data in wanted:
            workers.put(data)
    assert_holds(backend, key, wanted)


def test_many_packs_are_made_in_few_buffers(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []
    take = PackBuffers.take
    monkeypatch.setattr(PackBuffers, "take", lambda self, needed: taken.append(take(self, needed)) or taken[-1])
    write(store, blobs(100))
    assert len(taken) >= 20
    # one being filled, one waiting, two being stored, and one that was just given back
    assert len(set(map(id, taken))) <= 5
