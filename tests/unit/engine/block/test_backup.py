from __future__ import annotations

import logging
import random

import pytest

from icebrick.backend.base import FileType
from icebrick.backend.memory import MemoryBackend
from icebrick.blockdev import BlockSource, Extent
from icebrick.engine.block.backup import Baseline, BlockOptions, ImageResult, backup_image
from icebrick.engine.block.changes import SAMPLES
from icebrick.engine.block.image import StoredImage
from icebrick.engine.block.restore import dump_image
from icebrick.engine.block.zeros import SPARSE_ZERO, zero_id
from icebrick.errors import AttachError, BackendUnavailableError
from icebrick.parallel import Slots
from icebrick.repository.blobstore import BlobStore, load_blobstore
from icebrick.repository.crypto import Key
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.index.index import Index
from icebrick.testing.bytesdevice import BytesSource
from icebrick.testing.faults import Fault, FaultyBackend, Op
from icebrick.testing.images import (
    MOMENT,
    FixedChanges,
    RecordingBackend,
    RecordingDevice,
    SumProgress,
    save_backup,
    small_repository,
)
from icebrick.testing.repositories import empty_repository

BLOCK = 4096
OPTIONS = BlockOptions(block_size=BLOCK, slots=Slots(2))
pytestmark = pytest.mark.usefixtures("no_thread_outlives_its_test")


@pytest.fixture
def other_store(key: Key) -> BlobStore:
    """Of another medium, on which there is nothing of what is in `store`."""
    return BlobStore(empty_repository(key), key, Index())


def noise(blocks: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(blocks * BLOCK)


def back_up(store: BlobStore, source: BlockSource, baseline: Baseline | None = None) -> ImageResult:
    with store.writer() as writer:
        return backup_image(source, writer, MOMENT, baseline=baseline, options=OPTIONS)


def dump(store: BlobStore, image: StoredImage) -> bytes:
    parts: list[bytes] = []
    dump_image(image, store, lambda data: parts.append(bytes(data)), options=OPTIONS)
    return b"".join(parts)


def written_to(content: bytes, *numbers: int) -> bytes:
    """The content with one byte of each of these blocks changed."""
    after = bytearray(content)
    for number in numbers:
        after[number * BLOCK + 17] ^= 0xFF
    return bytes(after)


def blocks_read(source: RecordingDevice) -> list[int]:
    return sorted(extent.offset // BLOCK for extent in source.reads)


def just(*numbers: int) -> FixedChanges:
    return FixedChanges(tuple(Extent(number * BLOCK, BLOCK) for number in numbers))


def test_every_block_that_may_hold_data_is_read_once_and_no_other(store: BlobStore) -> None:
    source = RecordingDevice(20 * BLOCK)
    for number in (0, 3, 4, 19):
        source.write(number * BLOCK, noise(1, number))
    result = back_up(store, source)
    assert blocks_read(source) == [0, 3, 4, 19]
    assert result.stats.bytes_read == 4 * BLOCK


def test_an_extent_that_touches_a_block_makes_all_of_it_read(store: BlobStore) -> None:
    content = noise(6)
    source = BytesSource(content, (Extent(BLOCK - 1, 2), Extent(4 * BLOCK, BLOCK)))
    image = back_up(store, source).image
    assert dump(store, image) == content[: 2 * BLOCK] + bytes(2 * BLOCK) + content[4 * BLOCK : 5 * BLOCK] + bytes(BLOCK)


def test_the_blocks_are_counted_by_what_became_of_them(store: BlobStore) -> None:
    content = noise(2) + bytes(BLOCK) + noise(2)
    first = back_up(store, BytesSource(content)).stats
    assert (first.blocks, first.zero, first.unchanged, first.stored) == (5, 1, 0, 4)


def test_equal_blocks_are_stored_once(store: BlobStore) -> None:
    with store.writer() as writer:
        image = backup_image(BytesSource(noise(1) * 9), writer, MOMENT, options=OPTIONS).image
    assert image.content == digest(noise(1)) * 9
    assert writer.stats.data_blobs == 1 + 2  # and the two of the fingerprints' file


def test_a_volume_of_no_bytes_is_an_image_of_no_blobs(store: BlobStore) -> None:
    result = back_up(store, BytesSource(b""))
    assert (result.image.size, result.image.content) == (0, b"")
    assert back_up(store, BytesSource(b""), Baseline(result.image)).image.digest == result.image.digest


def test_zeros_are_named_by_their_real_ids(store: BlobStore) -> None:
    image = back_up(store, BytesSource(bytes(2 * BLOCK + 100))).image
    assert image.content == zero_id(BLOCK) * 2 + zero_id(100)


def test_the_first_large_zero_block_is_cut_as_restic_wants_it(store: BlobStore) -> None:
    options = BlockOptions(block_size=2 * SPARSE_ZERO, slots=Slots(2))
    content = b"x" + bytes(8 * SPARSE_ZERO - 1)
    with store.writer() as writer:
        image = backup_image(BytesSource(content), writer, MOMENT, options=options).image
    assert image.content[32:] == zero_id(SPARSE_ZERO) * 2 + zero_id(2 * SPARSE_ZERO) * 2


def test_an_image_has_two_files_that_say_what_they_hold(store: BlobStore) -> None:
    result = back_up(store, BytesSource(noise(3)))
    sizes = {node.name: (node.size, len(node.content) // 32) for node in result.nodes}
    assert sizes == {"volume.raw": (3 * BLOCK, 3), "volume.fingerprints": (48 + 3 * 16, 2)}
    assert {node.mtime for node in result.nodes} == {MOMENT}


def test_unchanged_blocks_are_not_even_hashed(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = back_up(store, BytesSource(noise(50))).image
    hashed: list[int] = []
    monkeypatch.setattr("icebrick.repository.packwriter.digest", lambda data: hashed.append(len(data)) or digest(data))
    stats = back_up(store, BytesSource(written_to(noise(50), 7, 30)), Baseline(parent)).stats
    assert (stats.unchanged, stats.stored) == (48, 2)
    assert hashed.count(BLOCK) == 2


def test_a_second_backup_of_the_same_volume_stores_nothing(backend: RecordingBackend, store: BlobStore) -> None:
    parent = back_up(store, BytesSource(noise(9))).image
    backend.saved.clear()
    assert back_up(store, BytesSource(noise(9)), Baseline(parent)).image == parent
    assert backend.saved == []


def test_the_fingerprint_key_and_the_block_size_are_handed_on(store: BlobStore) -> None:
    parent = back_up(store, BytesSource(noise(4))).image
    with store.writer() as writer:
        options = BlockOptions(block_size=2 * BLOCK, slots=Slots(1))
        child = backup_image(BytesSource(noise(4)), writer, MOMENT, baseline=Baseline(parent), options=options).image
    assert parent.fingerprints is not None
    assert child.fingerprints is not None
    assert child.fingerprints.key == parent.fingerprints.key
    assert child.fingerprints.blocks.block_size == BLOCK


def test_images_without_a_parent_have_keys_of_their_own(store: BlobStore) -> None:
    one, other = (back_up(store, BytesSource(noise(4))).image.fingerprints for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.key != other.key


def test_an_honest_change_map_spares_reading_what_did_not_change(store: BlobStore) -> None:
    parent = back_up(store, BytesSource(noise(400))).image
    after = written_to(noise(400), 5, 6, 399)
    source = RecordingDevice(len(after), after)
    result = back_up(store, source, Baseline(parent, just(5, 6, 399)))
    assert dump(store, result.image) == after
    assert len(source.reads) == 3 + SAMPLES
    assert (result.stats.change_map, result.stats.bytes_read) == ("used", 3 * BLOCK)
    assert (result.stats.unchanged, result.stats.stored) == (397, 3)


def test_a_change_map_may_call_more_changed_than_is(store: BlobStore) -> None:
    parent = back_up(store, BytesSource(noise(40))).image
    result = back_up(store, BytesSource(noise(40)), Baseline(parent, just(*range(0, 40, 2))))
    assert result.image == parent
    assert (result.stats.change_map, result.stats.unchanged) == ("used", 40)


def test_a_change_map_that_hides_a_change_is_rejected_loudly(
    store: BlobStore, caplog: pytest.LogCaptureFixture
) -> None:
    parent = back_up(store, BytesSource(noise(SAMPLES))).image
    after = written_to(noise(SAMPLES), 5, 6)
    with caplog.at_level(logging.ERROR):
        result = back_up(store, BytesSource(after), Baseline(parent, just(5)))
    assert dump(store, result.image) == after
    assert (result.stats.change_map, result.stats.stored) == ("rejected", 2)
    assert "the change map is wrong" in caplog.text


@pytest.mark.parametrize("hidden", [noise(1, 9), bytes(BLOCK)], ids=["zeros became data", "data became zeros"])
def test_a_change_map_that_hides_zeros_is_rejected(store: BlobStore, hidden: bytes) -> None:
    other = bytes(BLOCK) if any(hidden) else noise(1, 9)
    parent = back_up(store, BytesSource(noise(3) + other)).image
    result = back_up(store, BytesSource(noise(3) + hidden), Baseline(parent, just()))
    assert dump(store, result.image) == noise(3) + hidden
    assert result.stats.change_map == "rejected"


def test_a_change_map_is_not_asked_about_what_the_parent_never_had(store: BlobStore) -> None:
    parent = back_up(store, BytesSource(noise(4)[:-5])).image
    result = back_up(store, BytesSource(noise(9)), Baseline(parent, just()))
    assert dump(store, result.image) == noise(9)
    assert (result.stats.change_map, result.stats.stored, result.stats.unchanged) == ("used", 6, 3)


def test_what_was_discarded_since_is_zero_even_where_the_extents_leave_it_out(store: BlobStore) -> None:
    parent = back_up(store, BytesSource(noise(4))).image
    after = noise(2) + bytes(2 * BLOCK)
    result = back_up(store, BytesSource(after), Baseline(parent, just(2, 3)))
    assert dump(store, result.image) == after
    assert result.stats.zero == 2


@pytest.mark.parametrize("changes", [None, just()], ids=["by fingerprint", "by change map"])
def test_what_is_gone_from_the_repository_is_stored_again(
    store: BlobStore, other_store: BlobStore, changes: FixedChanges | None
) -> None:
    parent = back_up(store, BytesSource(noise(6))).image
    result = back_up(other_store, BytesSource(noise(6)), Baseline(parent, changes))
    assert dump(other_store, result.image) == noise(6)
    assert (result.stats.stored, result.stats.unchanged) == (6, 0)


def test_the_blocks_kept_by_a_change_map_are_stored_again_where_they_are_missing(
    store: BlobStore, other_store: BlobStore
) -> None:
    content = noise(4) + bytes(BLOCK)
    parent = back_up(store, BytesSource(content)).image
    back_up(other_store, BytesSource(noise(2)))
    result = back_up(other_store, BytesSource(content), Baseline(parent, just()))
    assert dump(other_store, result.image) == content
    assert (result.stats.change_map, result.stats.stored, result.stats.unchanged) == ("used", 2, 2)


def test_a_parent_made_by_restic_is_no_help_and_no_hindrance(
    store: BlobStore, caplog: pytest.LogCaptureFixture
) -> None:
    with store.writer() as writer:
        content = b"".join(writer.save(BlobType.DATA, piece) for piece in (noise(3)[:5000], noise(3)[5000:]))
    result = back_up(store, BytesSource(noise(3)), Baseline(StoredImage(3 * BLOCK, content)))
    assert dump(store, result.image) == noise(3)
    assert result.stats.stored == 3


class Failing(BytesSource):
    """A device with one bad byte."""

    def __init__(self, content: bytes, bad: int) -> None:
        super().__init__(content)
        self.bad = bad

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if offset <= self.bad < offset + len(buffer):
            raise AttachError(f"cannot read {len(buffer)} bytes at {offset}: input/output error")
        super().read_into(offset, buffer)


@pytest.mark.parametrize("block", [0, 25, 49])
def test_a_block_that_cannot_be_read_ends_the_backup_without_an_index_or_snapshot(
    block: int,
) -> None:
    backend = RecordingBackend(MemoryBackend())
    repository = small_repository(backend)
    backend.saved.clear()
    with pytest.raises(AttachError, match=f"at {block * BLOCK}: input/output error"):
        save_backup(repository, Failing(noise(50), block * BLOCK), options=OPTIONS)
    assert backend.saved == []
    assert repository.snapshot_ids() == []


def test_a_block_that_cannot_be_sampled_ends_the_backup_too(store: BlobStore) -> None:
    parent = back_up(store, BytesSource(noise(5))).image
    with pytest.raises(AttachError, match="input/output error"):
        back_up(store, Failing(noise(5), 0), Baseline(parent, just()))


def test_a_backend_that_fails_ends_the_backup(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.repository.packer.PACK_SIZE", 4 * BLOCK)
    faulty = FaultyBackend(empty_repository(key), [Fault(Op.SAVE, 2)])
    with pytest.raises(BackendUnavailableError):
        back_up(BlobStore(faulty, key, Index()), BytesSource(noise(200)))
    assert list(faulty.inner.list_files(FileType.INDEX)) == []


@pytest.mark.parametrize("changes", [None, just(), just(0, 1, 9)])
@pytest.mark.parametrize("content", [b"", noise(10)[:-7], bytes(10 * BLOCK), noise(3) + bytes(4 * BLOCK) + noise(3)])
def test_progress_reaches_the_size_of_the_volume(
    store: BlobStore, content: bytes, changes: FixedChanges | None
) -> None:
    parent = back_up(store, BytesSource(content)).image
    progress = SumProgress()
    with store.writer() as writer:
        backup_image(
            BytesSource(content), writer, MOMENT, baseline=Baseline(parent, changes), options=OPTIONS, progress=progress
        )
    assert progress.done == progress.total == len(content)


def test_an_image_can_be_read_by_another_process(backend: RecordingBackend, store: BlobStore, key: Key) -> None:
    image = back_up(store, BytesSource(noise(20))).image
    assert dump(load_blobstore(backend, key), image) == noise(20)
