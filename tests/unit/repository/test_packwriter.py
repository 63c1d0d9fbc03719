"""Several writers in one run: each one's commit covers all it relies on, and one's failure is not everybody's."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator

import pytest

from icebrick.backend.base import Backend, BackendWrapper, FileType, Handle
from icebrick.backend.memory import MemoryBackend
from icebrick.blockdev import Data
from icebrick.errors import BackendError, BackendUnavailableError, CorruptDataError
from icebrick.parallel import Workers
from icebrick.repository.blobstore import BlobStore, load_blobstore
from icebrick.repository.blobwriter import BlobWriter, open_writer
from icebrick.repository.crypto import Key, new_key
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.index.index import Index
from icebrick.repository.packer import FinishedPack, PackBuffers, Packer
from icebrick.testing.faults import Death, DyingBackend, Fault, FaultyBackend, Kind, Op, deaths, random_faults

DATA, TREE = BlobType.DATA, BlobType.TREE
PATIENCE = 20.0  # seconds; only a test that fails waits so long


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", 4 << 10)
    monkeypatch.setattr("icebrick.repository.packwriter.INDEX_BLOBS", 20)


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def key() -> Key:
    return new_key()


def noise(number: int, size: int = 1000) -> bytes:
    return random.Random(number).randbytes(size)


def durable(backend: Backend, key: Key, *wanted: bytes) -> bool:
    """Whether another process would find them all."""
    found = load_blobstore(backend, key)
    return all(found.has(DATA, digest(data)) and found.load(DATA, digest(data)) == data for data in wanted)


def test_a_commit_makes_durable_what_this_writer_saved_while_others_go_on(key: Key) -> None:
    backend = MemoryBackend()
    with BlobStore(backend, key, Index()).pack_writer() as packs:
        one, other = BlobWriter(packs), BlobWriter(packs)
        one.save(DATA, noise(1))
        one.save(TREE, noise(2))
        one.commit()
        assert durable(backend, key, noise(1))
        assert load_blobstore(backend, key).has(TREE, digest(noise(2)))
        other.save(DATA, noise(3))
        assert not durable(backend, key, noise(3))
        other.commit()
        assert durable(backend, key, noise(1), noise(3))


def test_a_commit_covers_blobs_that_another_writer_has_underway(key: Key) -> None:
    backend = MemoryBackend()
    with BlobStore(backend, key, Index()).pack_writer() as packs:
        other, saving, holding = BlobWriter(packs), BlobWriter(packs), BlobWriter(packs)
        other.save(DATA, noise(1))
        other.save(DATA, noise(2))
        saving.save(DATA, noise(1))
        assert holding.holds(DATA, digest(noise(2)))
        saving.commit()
        assert durable(backend, key, noise(1))
        holding.commit()
        assert durable(backend, key, noise(2))
        assert (saving.stats.data_blobs, other.stats.data_blobs) == (0, 2)


class Watched(BackendWrapper):
    """Calls `before` before a file is stored."""

    def __init__(self, before: Callable[[FileType], object]) -> None:
        super().__init__(MemoryBackend())
        self._before = before

    def save(self, handle: Handle, data: Data) -> None:
        self._before(handle.type)
        super().save(handle, data)


def test_a_commit_does_not_wait_for_what_others_save_after_it_began(key: Key) -> None:
    saved: list[bytes] = []

    def go_on_saving(file_type: FileType) -> None:
        if file_type is FileType.PACK and len(saved) < 100:
            saved.append(noise(1000 + len(saved), size=100))
            busy.save(DATA, saved[-1])

    backend = Watched(go_on_saving)
    with BlobStore(backend, key, Index()).pack_writer() as packs:
        busy, one = BlobWriter(packs), BlobWriter(packs)
        one.save(DATA, noise(1))
        one.commit()
        assert len(saved) == 1
        assert durable(backend, key, noise(1))
        assert not durable(backend, key, saved[0])


def test_a_commit_waits_for_an_index_file_that_another_one_is_just_storing(key: Key) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def stop_at_index(file_type: FileType) -> None:
        if file_type is FileType.INDEX:
            begun.set()
            go_on.wait(PATIENCE)

    backend = Watched(stop_at_index)
    with BlobStore(backend, key, Index()).pack_writer() as packs:
        other, one = BlobWriter(packs), BlobWriter(packs)
        other.save(DATA, noise(1))
        one.save(DATA, noise(1))
        commits = [threading.Thread(target=writer.commit) for writer in (other, one)]
        commits[0].start()
        begun.wait(PATIENCE)
        commits[1].start()
        commits[1].join(0.05)
        assert commits[1].is_alive()
        go_on.set()
        for commit in commits:
            commit.join(PATIENCE)
        assert durable(backend, key, noise(1))


class Halting:
    """A `Packer.add` that stops before it puts one blob in, until it is told to go on."""

    def __init__(self, blob_id: bytes) -> None:
        self.halted, self.go_on = threading.Event(), threading.Event()
        self._blob_id = blob_id
        self._add = Packer.add

    def add(self, packer: Packer, blob_id: bytes, plain: Data) -> FinishedPack | None:
        if blob_id == self._blob_id:
            self.halted.set()
            self.go_on.wait(PATIENCE)
        return self._add(packer, blob_id, plain)


@pytest.fixture
def halting(monkeypatch: pytest.MonkeyPatch) -> Halting:
    halting = Halting(digest(noise(1)))
    monkeypatch.setattr(Packer, "add", lambda *arguments: halting.add(*arguments))  # noqa: PLW0108 - binds
    return halting


def test_a_commit_waits_for_a_blob_that_another_thread_is_just_storing(key: Key, halting: Halting) -> None:
    backend = MemoryBackend()
    with BlobStore(backend, key, Index()).pack_writer() as packs:
        other, one = BlobWriter(packs), BlobWriter(packs)
        storing = threading.Thread(target=other.save, args=(DATA, noise(1)))
        storing.start()
        halting.halted.wait(PATIENCE)
        one.save(DATA, noise(1))
        committing = threading.Thread(target=one.commit)
        committing.start()
        committing.join(0.05)
        assert committing.is_alive()
        halting.go_on.set()
        committing.join(PATIENCE)
        assert durable(backend, key, noise(1))
        storing.join()


def test_a_blob_put_into_an_older_pack_after_the_commit_began_does_not_hold_that_pack_back(
    key: Key, halting: Halting
) -> None:
    backend = MemoryBackend()
    with BlobStore(backend, key, Index()).pack_writer() as packs:
        other, one = BlobWriter(packs), BlobWriter(packs)
        one.save(DATA, noise(2))
        storing = threading.Thread(target=other.save, args=(DATA, noise(1)))  # into the pack of the blob before
        storing.start()
        halting.halted.wait(PATIENCE)
        committing = threading.Thread(target=one.commit)
        committing.start()
        halting.go_on.set()
        committing.join(PATIENCE)
        assert durable(backend, key, noise(2))
        storing.join()


def test_by_a_pack_that_cannot_be_stored_all_at_work_fail_and_who_begins_later_does_not(key: Key) -> None:
    backend = FaultyBackend(MemoryBackend(), [Fault(Op.SAVE, 1)])
    with BlobStore(backend, key, Index()).pack_writer() as packs:
        one, other = BlobWriter(packs), BlobWriter(packs)
        one.save(DATA, noise(1))
        other.save(DATA, noise(1))
        with pytest.raises(BackendUnavailableError):
            one.commit()
        with pytest.raises(BackendUnavailableError):
            other.save(DATA, noise(2))
        with pytest.raises(BackendUnavailableError):
            other.commit()
        with open_writer(packs) as later:
            later.save(DATA, noise(1))
        assert later.stats.data_blobs == 1
        assert durable(backend, key, noise(1))


def test_a_commit_that_waits_for_anothers_blob_fails_when_that_cannot_be_packed(
    key: Key, halting: Halting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise CorruptDataError("a bit flipped in memory")

    told: list[str] = []

    def expect_failure(call: Callable[[], object]) -> None:
        try:
            call()
        except CorruptDataError as error:
            told.append(str(error))

    with BlobStore(MemoryBackend(), key, Index()).pack_writer() as packs:
        other, one = BlobWriter(packs), BlobWriter(packs)
        calls = [lambda: other.save(DATA, noise(1)), one.commit]
        threads = [threading.Thread(target=expect_failure, args=(call,)) for call in calls]
        threads[0].start()
        halting.halted.wait(PATIENCE)
        monkeypatch.setattr(halting, "_add", broken)
        threads[1].start()
        threads[1].join(0.05)
        halting.go_on.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert told == ["a bit flipped in memory"] * 2


def test_packs_whose_index_file_could_not_be_stored_are_named_by_a_later_one(key: Key) -> None:
    backend = FaultyBackend(MemoryBackend(), [Fault(Op.SAVE, 2)])
    with BlobStore(backend, key, Index()).pack_writer() as packs:
        with pytest.raises(BackendUnavailableError), open_writer(packs) as one:
            one.save(DATA, noise(1))
        with open_writer(packs) as later:
            later.save(DATA, noise(1))
        assert later.stats.data_blobs == 0
        assert durable(backend, key, noise(1))
    assert len(list(backend.list_files(FileType.PACK))) == 1


def test_memory_for_packs_is_bounded_by_the_threads_that_save_however_many_commit(
    key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent: set[int] = set()
    most = 0
    lock = threading.Lock()
    take, give_back = PackBuffers.take, PackBuffers.give_back

    def count_taken(buffers: PackBuffers, needed: int) -> object:
        nonlocal most
        buffer = take(buffers, needed)
        with lock:
            lent.add(id(buffer))
            most = max(most, len(lent))
        return buffer

    def count_given_back(buffers: PackBuffers, buffer: object) -> None:
        with lock:
            lent.discard(id(buffer))
        give_back(buffers, buffer)  # type: ignore[arg-type]

    monkeypatch.setattr(PackBuffers, "take", count_taken)
    monkeypatch.setattr(PackBuffers, "give_back", count_given_back)
    saving, go_on = threading.Semaphore(2), threading.Event()

    def volume(number: int) -> None:
        with open_writer(packs) as writer, saving:
            writer.save(DATA, noise(number))

    with BlobStore(Watched(lambda _: go_on.wait(PATIENCE)), key, Index()).pack_writer() as packs:
        threads = [threading.Thread(target=volume, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
            thread.join(0.02)
        go_on.set()
        for thread in threads:
            thread.join(PATIENCE)
    # two being stored, one waiting, one of the commit that flushes; of each that saves one that waits and one it fills
    assert most <= 2 + 1 + 1 + 2 * 2


# Many at once, and a storage that fails or a process that dies

VOLUMES = 6


def save_snapshot(backend: Backend, ids: list[bytes]) -> None:
    """What counts as a snapshot here: a file that names blobs."""
    content = json.dumps([blob_id.hex() for blob_id in ids]).encode()
    backend.save(Handle(FileType.SNAPSHOT, digest(content).hex()), content)


def back_up(packs: object, backend: Backend, number: int, seed: int) -> None:
    """One volume: blobs of its own and some that others have too; now and then a commit on the way."""
    chance = random.Random(f"{seed} {number}")
    ids: list[bytes] = []
    with open_writer(packs) as writer:  # type: ignore[arg-type]
        for _ in range(chance.randrange(1, 12)):
            content = noise(chance.randrange(20), size=400) if chance.random() < 0.5 else chance.randbytes(400)
            if not writer.holds(DATA, digest(content)):
                writer.save(DATA, content)
            ids.append(digest(content))
            if chance.random() < 0.1:
                writer.commit()
    save_snapshot(backend, ids)


def run(backend: Backend, key: Key, seed: int) -> list[BaseException]:
    """Back up all volumes at once, two threads sharing them; the failures."""
    failures: list[BaseException] = []

    def volume(number: int) -> None:
        try:
            back_up(packs, backend, number, seed)
        except (BackendError, Death) as error:
            failures.append(error)

    with load_blobstore(backend, key).pack_writer() as packs, Workers(volume, threads=VOLUMES) as workers:
        for number in range(VOLUMES):
            workers.put(number)
    return failures


def assert_snapshots_are_complete(backend: Backend, key: Key) -> int:
    """How many there are."""
    store = load_blobstore(backend, key)
    snapshots = list(backend.list_files(FileType.SNAPSHOT))
    for info in snapshots:
        for blob_id in json.loads(backend.load(info.handle)):
            store.load(DATA, bytes.fromhex(blob_id))
    return len(snapshots)


def test_whenever_the_process_dies_every_snapshot_is_complete_and_the_next_run_completes_the_rest(key: Key) -> None:
    living = DyingBackend(MemoryBackend())
    assert run(living, key, 0) == []
    for at, effective in deaths(living.writes):
        inner = MemoryBackend()
        dying = DyingBackend(inner, at=at, effective=effective)
        failures = run(dying, key, 0)
        assert dying.dead == bool(failures)
        assert all(isinstance(failure, Death) for failure in failures)
        assert_snapshots_are_complete(inner, key)
        assert run(inner, key, 0) == []
        assert assert_snapshots_are_complete(inner, key) == VOLUMES


@pytest.mark.parametrize("seed", range(40))
def test_under_faults_every_volume_is_complete_or_a_failure(seed: int, key: Key) -> None:
    inner = MemoryBackend()
    kinds = (Kind.BEFORE, Kind.AFTER)
    backend = FaultyBackend(
        inner, [f for f in random_faults(seed, rate=0.1, calls=100, kinds=kinds) if f.op is Op.SAVE]
    )
    failures = run(backend, key, seed)
    assert (failures == []) == (backend.met == [])
    assert assert_snapshots_are_complete(inner, key) >= VOLUMES - len(failures)
    assert run(inner, key, seed) == []
    assert assert_snapshots_are_complete(inner, key) == VOLUMES
