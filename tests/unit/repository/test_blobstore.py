from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from icebrick.backend.base import BackendWrapper, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import BackendUnavailableError, CorruptDataError
from icebrick.parallel import Slots, Workers
from icebrick.repository.blob import PackedBlob
from icebrick.repository.blobstore import MAX_GAP, MAX_READ, BlobStore, load_blobstore
from icebrick.repository.crypto import Key
from icebrick.repository.ids import ID_SIZE, BlobType, digest
from icebrick.repository.index.index import Index
from icebrick.repository.unpacked import save_unpacked
from icebrick.testing.faults import Fault, FaultyBackend, Kind, Op
from icebrick.testing.repositories import empty_repository

DATA, TREE = BlobType.DATA, BlobType.TREE


class Loads(BackendWrapper):
    """Notes what is loaded of packs."""

    def __init__(self, inner: MemoryBackend) -> None:
        super().__init__(inner)
        self.ranges: list[tuple[int, int]] = []

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        if handle.type is FileType.PACK:
            assert length is not None
            self.ranges.append((offset, length))
        return super().load(handle, offset=offset, length=length)


@pytest.fixture
def backend(key: Key) -> Loads:
    return Loads(empty_repository(key))


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def save(store: BlobStore, *contents: bytes, blob_type: BlobType = DATA) -> None:
    with store.writer() as writer:
        for content in contents:
            writer.save(blob_type, content)


def load_many(store: BlobStore, *contents: bytes) -> list[bytes]:
    """The blobs of these contents, which lie in one pack, through `load_many`."""
    ids = list(map(digest, contents))
    places = store.places(b"".join(ids))
    blobs = sorted((places.blob(number, blob_id) for number, blob_id in enumerate(ids)), key=lambda blob: blob.offset)
    found: dict[int, bytes] = {}
    store.load_many(int(places.packs[0]), blobs, lambda number, data: found.update({number: bytes(data)}))
    by_id = {blobs[number].id: content for number, content in found.items()}
    return [by_id[blob_id] for blob_id in ids]


def test_a_blob_is_loaded_by_its_type_and_id(store: BlobStore) -> None:
    save(store, b"data")
    save(store, b"tree", blob_type=TREE)
    assert store.load(DATA, digest(b"data")) == b"data"
    assert store.load(TREE, digest(b"tree")) == b"tree"


@pytest.mark.parametrize("content", [b"", b"x", noise(1000, 1), bytes(100_000)])
def test_the_size_of_a_blob_is_that_of_its_plaintext(store: BlobStore, content: bytes) -> None:
    save(store, content)
    assert store.size(DATA, digest(content)) == len(content)


def test_a_blob_that_is_not_there_is_not_found_and_named_when_it_is_needed(store: BlobStore) -> None:
    missing = digest(b"missing")
    assert not store.has(DATA, missing)
    assert store.find(TREE, missing) is None
    with pytest.raises(CorruptDataError, match=f"data blob {missing.hex()} is in no index"):
        store.load(DATA, missing)
    with pytest.raises(CorruptDataError, match=f"tree blob {missing.hex()} is in no index"):
        store.size(TREE, missing)


def test_only_a_blobs_own_bytes_are_read(store: BlobStore, backend: Loads) -> None:
    save(store, noise(1000, 1), noise(2000, 2), noise(3000, 3))
    store.load(DATA, digest(noise(2000, 2)))
    assert backend.ranges == [(1032, 2032)]


def test_many_blobs_of_one_pack_are_loaded_in_one_read(store: BlobStore, backend: Loads) -> None:
    contents = [noise(1000, seed) for seed in range(20)]
    save(store, *contents)
    assert load_many(store, *contents[::-1]) == contents[::-1]
    assert backend.ranges == [(0, 20 * 1032)]


@pytest.mark.parametrize(("gap", "reads"), [(MAX_GAP, 1), (MAX_GAP + 1, 2)])
def test_a_gap_is_read_over_when_it_is_small(store: BlobStore, backend: Loads, gap: int, reads: int) -> None:
    first, between, last = noise(500, 1), noise(gap - 32, 2), noise(500, 3)
    save(store, first, between, last)
    assert load_many(store, first, last) == [first, last]
    assert len(backend.ranges) == reads


def test_no_read_of_several_blobs_is_longer_than_the_limit(store: BlobStore, backend: Loads) -> None:
    contents = [noise(8 << 20, 1), noise((9 << 20) + 1000, 2)]  # as much as goes into one pack
    save(store, *contents)
    assert load_many(store, *contents) == contents
    assert [length for _, length in backend.ranges] == [len(content) + 32 for content in contents]
    assert max(length for _, length in backend.ranges) <= MAX_READ


def test_a_blob_longer_than_the_limit_is_read_alone(store: BlobStore, backend: Loads) -> None:
    contents = [noise(100, 1), noise(100, 2), noise(MAX_READ + 1, 3)]
    save(store, *contents)
    assert load_many(store, *contents) == contents
    assert len(backend.ranges) == 2
    assert all(one[0] + one[1] <= other[0] for one, other in pairwise(backend.ranges))


class Held(BackendWrapper):
    """Counts what was loaded of packs and not yet used up; `second` tells of the second load."""

    def __init__(self, inner: MemoryBackend) -> None:
        super().__init__(inner)
        self.connections = 2
        self.now = self.most = self.loads = 0
        self.second = threading.Event()
        self._lock = threading.Lock()

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        if handle.type is FileType.PACK:
            with self._lock:
                self.loads += 1
                self.now += 1
                self.most = max(self.most, self.now)
                if self.loads == 2:
                    self.second.set()
        return super().load(handle, offset=offset, length=length)

    def used(self, _number: int, _data: object) -> None:
        assert self.second.wait(60)
        with self._lock:
            self.now -= 1


def test_as_many_reads_as_the_backend_serves_well_are_under_way_while_all_slots_are_busy(key: Key) -> None:
    held = Held(empty_repository(key))
    contents = [noise(1000, seed) for seed in range(12)]
    for content in contents:  # a pack each
        save(load_blobstore(held, key), content)
    store, slots = load_blobstore(held, key), Slots(1)

    def load(content: bytes) -> None:
        places = store.places(digest(content))
        store.load_many(int(places.packs[0]), [places.blob(0, digest(content))], held.used, slots)

    with Workers(load, threads=6) as workers:
        for content in contents:
            workers.put(content)
    assert (held.loads, held.now, held.most) == (12, 0, 2)


def flip(backend: Loads, position: int) -> None:
    (info,) = backend.list_files(FileType.PACK)
    pack = bytearray(backend.inner.load(info.handle))
    pack[position] ^= 4
    backend.save(info.handle, pack)


@pytest.mark.damages_repository("a byte of a blob is wrong")
def test_damage_is_told_by_the_blobs_name_and_others_are_still_read(store: BlobStore, backend: Loads) -> None:
    save(store, noise(100, 1), noise(100, 2))
    flip(backend, 140)
    with pytest.raises(CorruptDataError, match=f"blob {digest(noise(100, 2)).hex()}"):
        load_many(store, noise(100, 1), noise(100, 2))
    assert store.load(DATA, digest(noise(100, 1))) == noise(100, 1)


@pytest.mark.parametrize("read", ["load", "load_many"])
def test_a_blob_read_wrongly_once_is_read_again(store: BlobStore, backend: Loads, key: Key, read: str) -> None:
    contents = [noise(1000, seed) for seed in range(3)]
    save(store, *contents)
    faulty = FaultyBackend(backend, [])
    reading = load_blobstore(faulty, key)
    plan = [Fault(Op.LOAD, faulty.calls(Op.LOAD) + 1, Kind.WRONG)]
    faulty._plan = {(fault.op, fault.call): fault for fault in plan}
    if read == "load":
        assert reading.load(DATA, digest(contents[0])) == contents[0]
    else:
        assert load_many(reading, *contents) == contents
    assert faulty.met == plan


def test_an_index_that_points_to_another_place_is_found_out(store: BlobStore, backend: Loads, key: Key) -> None:
    save(store, noise(100, 1), noise(100, 2))
    (info,) = backend.list_files(FileType.PACK)
    index = Index()
    index.add_pack(bytes.fromhex(info.handle.name), [PackedBlob(DATA, digest(noise(100, 1)), 132, 132, 0)])
    with pytest.raises(CorruptDataError, match=f"blob {digest(noise(100, 1)).hex()}"):
        BlobStore(backend, key, index).load(DATA, digest(noise(100, 1)))


def test_an_index_that_points_behind_the_pack_is_found_out(store: BlobStore, backend: Loads, key: Key) -> None:
    save(store, noise(100, 1))
    (info,) = backend.list_files(FileType.PACK)
    index = Index()
    index.add_pack(bytes.fromhex(info.handle.name), [PackedBlob(DATA, digest(noise(100, 1)), 1000, 132, 0)])
    with pytest.raises(CorruptDataError, match=f"damaged: data/{info.handle.name}"):
        BlobStore(backend, key, index).load(DATA, digest(noise(100, 1)))


def test_storage_that_does_not_answer_is_not_taken_for_damage(store: BlobStore, backend: Loads, key: Key) -> None:
    save(store, b"data")
    faulty = FaultyBackend(backend, [Fault(Op.LOAD, 2)])
    with pytest.raises(BackendUnavailableError):
        load_blobstore(faulty, key).load(DATA, digest(b"data"))


def test_a_loaded_blob_is_not_changed_by_the_next_load(store: BlobStore) -> None:
    contents = [noise(1000, 1), noise(1000, 2)]
    save(store, *contents)
    assert [store.load(DATA, digest(content)) for content in contents] == contents


def test_what_use_raises_reaches_the_caller(store: BlobStore) -> None:
    def use(number: int, data: object) -> None:
        raise ZeroDivisionError

    save(store, b"data")
    places = store.places(digest(b"data"))
    with pytest.raises(ZeroDivisionError):
        store.load_many(int(places.packs[0]), [places.blob(0, digest(b"data"))], use)


def test_many_threads_may_load_while_others_save(backend: Loads, store: BlobStore, key: Key) -> None:
    contents = [noise(300 + seed, seed) for seed in range(200)]
    save(store, *contents[:100])

    def work(number: int) -> None:
        content = contents[number]
        if number < 100:
            assert store.load(DATA, digest(content)) == content
            assert len(store.places(digest(content)).sizes) == 1
        else:
            writer.save(DATA, content)

    with store.writer() as writer, Workers(work, threads=8) as workers:
        for number in random.Random(1).sample(range(200), 200):
            workers.put(number)
    found = load_blobstore(backend, key)
    assert all(found.load(DATA, digest(content)) == content for content in contents)


def test_places_name_the_blobs_that_are_missing(store: BlobStore) -> None:
    save(store, b"data")
    with pytest.raises(CorruptDataError, match=f"1 blobs are in no index, the first is {'11' * ID_SIZE}"):
        store.places(digest(b"data") + b"\x11" * ID_SIZE)


@pytest.fixture
def broken(backend: Loads, store: BlobStore, key: Key) -> Iterator[str]:
    save(store, b"data")
    yield save_unpacked(backend, key, FileType.INDEX, b"{}")


@pytest.mark.damages_repository("an index file is noise")
def test_a_broken_index_file_is_named_with_what_mends_it(backend: Loads, broken: str, key: Key) -> None:
    with pytest.raises(CorruptDataError, match=f"index/{broken} is damaged: not an index file") as caught:
        load_blobstore(backend, key)
    assert caught.value.hint is not None
    assert "icebrick repair index" in caught.value.hint


@pytest.mark.damages_repository("an index file is noise")
def test_an_index_file_that_is_damaged_is_named_once(backend: Loads, broken: str, key: Key) -> None:
    backend.save(Handle(FileType.INDEX, broken), b"damaged")
    with pytest.raises(CorruptDataError) as caught:
        load_blobstore(backend, key)
    assert str(caught.value).count(broken) == 1
