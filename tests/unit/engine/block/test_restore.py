from __future__ import annotations

import random

import pytest

from icebrick.backend.base import Backend, FileType
from icebrick.backend.memory import MemoryBackend
from icebrick.blockdev import Data, Extent
from icebrick.engine.block.backup import BlockOptions, backup_image
from icebrick.engine.block.image import StoredImage
from icebrick.engine.block.restore import dump_image, restore_image
from icebrick.engine.block.verify import verify_image
from icebrick.engine.block.zeros import SPARSE_ZERO
from icebrick.errors import AttachError, CorruptDataError, UsageError
from icebrick.parallel import Slots
from icebrick.repository.blobstore import BlobStore, load_blobstore
from icebrick.repository.crypto import Key
from icebrick.repository.ids import BlobType, digest
from icebrick.testing.bytesdevice import BytesSource, BytesTarget
from icebrick.testing.images import MOMENT, RecordingDevice, SumProgress

BLOCK = 4096
OPTIONS = BlockOptions(block_size=BLOCK, slots=Slots(2))
pytestmark = pytest.mark.usefixtures("no_thread_outlives_its_test")


def noise(blocks: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(blocks * BLOCK)


CONTENT = noise(3) + bytes(2 * BLOCK) + noise(3, 1) + noise(1) + noise(1, 2)[:100]


def save(store: BlobStore, content: bytes) -> StoredImage:
    with store.writer() as writer:
        return backup_image(BytesSource(content), writer, MOMENT, options=OPTIONS).image


def save_pieces(store: BlobStore, *pieces: bytes) -> StoredImage:
    """An image cut as restic would cut it: anyhow."""
    with store.writer() as writer:
        content = b"".join(writer.save(BlobType.DATA, piece) for piece in pieces)
    return StoredImage(sum(map(len, pieces)), content)


def dump(store: BlobStore, image: StoredImage) -> bytes:
    parts: list[bytes] = []
    dump_image(image, store, lambda data: parts.append(bytes(data)), options=OPTIONS)
    return b"".join(parts)


def test_an_empty_target_is_only_written_where_there_is_data(store: BlobStore) -> None:
    image = save(store, CONTENT)
    target = RecordingDevice(len(CONTENT))
    stats = restore_image(image, store, target, options=OPTIONS)
    assert target.content() == CONTENT
    assert sorted(extent.offset // BLOCK for extent in target.writes) == [0, 1, 2, 5, 6, 7, 8, 9]
    assert (target.reads, target.discards) == ([], [])
    assert (stats.written, stats.matching, stats.discarded) == (7 * BLOCK + 100, 0, 0)


def test_a_target_that_is_right_already_is_only_read(store: BlobStore) -> None:
    image = save(store, CONTENT)
    target = RecordingDevice(len(CONTENT), CONTENT)
    stats = restore_image(image, store, target, options=OPTIONS)
    assert (target.writes, target.discards) == ([], [])
    assert (stats.written, stats.matching, stats.size) == (0, 7 * BLOCK + 100, len(CONTENT))


def test_only_blocks_that_differ_are_written(store: BlobStore) -> None:
    image = save(store, CONTENT)
    target = RecordingDevice(len(CONTENT), CONTENT)
    target.write(BLOCK + 5, b"?")
    target.write(9 * BLOCK + 99, b"?")
    target.forget()
    stats = restore_image(image, store, target, options=OPTIONS)
    assert target.content() == CONTENT
    assert sorted(target.writes) == [Extent(BLOCK, BLOCK), Extent(9 * BLOCK, 100)]
    assert stats.written == BLOCK + 100


def test_data_is_discarded_where_zeros_belong_and_only_there(store: BlobStore) -> None:
    image = save(store, CONTENT)
    target = RecordingDevice(len(CONTENT), CONTENT)
    target.write(4 * BLOCK + 5, b"?")
    target.forget()
    stats = restore_image(image, store, target, options=OPTIONS)
    assert target.content() == CONTENT
    assert target.discards == [Extent(4 * BLOCK, BLOCK)]
    assert (stats.discarded, target.writes) == (BLOCK, [])


@pytest.mark.parametrize("offset", [0, BLOCK, 3 * BLOCK])
def test_data_anywhere_in_a_large_zero_block_makes_it_discarded(store: BlobStore, offset: int) -> None:
    image = save_pieces(store, bytes(2 * BLOCK), bytes(2 * BLOCK), noise(1))
    target = RecordingDevice(5 * BLOCK)
    target.write(offset, b"?")
    restore_image(image, store, target, options=OPTIONS)
    assert target.content() == bytes(4 * BLOCK) + noise(1)
    assert target.discards == [Extent(offset // (2 * BLOCK) * 2 * BLOCK, 2 * BLOCK)]


def test_what_lies_behind_the_image_is_neither_read_nor_written(store: BlobStore) -> None:
    image = save(store, CONTENT)
    behind = noise(3, 7)
    target = RecordingDevice(len(CONTENT) + len(behind), noise(9) + bytes(100) + behind)
    restore_image(image, store, target, options=OPTIONS)
    assert target.content() == CONTENT + behind
    touched = target.reads + target.writes + target.discards
    assert max(extent.end for extent in touched) <= len(CONTENT)


def test_a_smaller_target_is_refused_untouched(store: BlobStore) -> None:
    image = save(store, CONTENT)
    target = RecordingDevice(len(CONTENT) - 1)
    with pytest.raises(UsageError, match=f"the target has {len(CONTENT) - 1} bytes, the image needs {len(CONTENT)}"):
        restore_image(image, store, target, options=OPTIONS)
    assert (target.writes, target.flushes) == ([], 0)


def test_an_image_of_no_bytes_is_restored(store: BlobStore) -> None:
    image = save(store, b"")
    target = RecordingDevice(10, b"unchanged!")
    assert restore_image(image, store, target, options=OPTIONS).size == 0
    assert target.content() == b"unchanged!"
    assert dump(store, image) == b""
    assert verify_image(image, store, target).blocks == 0


def test_the_target_is_flushed_once_all_is_written(store: BlobStore) -> None:
    target = BytesTarget(len(CONTENT))
    restore_image(save(store, CONTENT), store, target, options=OPTIONS)
    assert target.flushes == 1


def test_a_block_used_many_times_is_loaded_once(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    image = save(store, noise(1) * 30)
    loaded: list[int] = []
    load = MemoryBackend.load
    monkeypatch.setattr(MemoryBackend, "load", lambda *a, **k: loaded.append(k["length"]) or load(*a, **k))
    target = BytesTarget(30 * BLOCK)
    restore_image(image, store, target, options=OPTIONS)
    assert target.content() == noise(1) * 30
    assert loaded == [BLOCK + 32]


PIECES = (noise(2)[:5000], b"x", bytes(SPARSE_ZERO), noise(2)[:5000], bytes(777), noise(1)[:511])


def test_images_cut_by_content_are_restored_and_dumped_and_verified(store: BlobStore) -> None:
    image = save_pieces(store, *PIECES)
    target = BytesTarget(image.size, noise(200, 3)[: image.size])
    restore_image(image, store, target, options=OPTIONS)
    assert target.content() == dump(store, image) == b"".join(PIECES)
    assert verify_image(image, store, target).mismatches == 0


def test_images_cut_by_content_are_only_written_where_they_differ(store: BlobStore) -> None:
    image = save_pieces(store, *PIECES)
    target = RecordingDevice(image.size, b"".join(PIECES))
    target.write(5000, b"y")
    target.forget()
    restore_image(image, store, target, options=OPTIONS)
    assert (target.writes, target.discards) == ([Extent(5000, 1)], [])


def test_an_image_with_very_many_lengths_of_pieces_keeps_restics_zeros_unread(store: BlobStore) -> None:
    pieces = [bytes([1]) * length for length in range(1, 30)] + [bytes(SPARSE_ZERO), bytes(31)]
    image = save_pieces(store, *pieces)
    target = RecordingDevice(image.size)
    restore_image(image, store, target, options=OPTIONS)
    assert target.content() == b"".join(pieces)
    assert SPARSE_ZERO not in {extent.length for extent in target.writes}


def test_a_window_of_a_dump_is_not_longer_than_it_may_be(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.engine.block.restore.WINDOW", 10_000)
    pieces = [noise(3, seed)[:length] for seed, length in enumerate((4000, 4000, 4000, 12_000, 1, 9_999, 1))]
    image = save_pieces(store, *pieces)
    written: list[int] = []
    dump_image(image, store, lambda data: written.append(len(data)), options=OPTIONS)
    assert written == [8000, 4000, 12_000, 10_000, 1]


def test_sizes_that_do_not_add_up_are_corrupt(store: BlobStore) -> None:
    image = save_pieces(store, b"abc")
    with pytest.raises(CorruptDataError, match="an image of 4 bytes has blobs of 3 bytes together"):
        restore_image(StoredImage(4, image.content), store, BytesTarget(4))


def test_a_blob_that_is_in_no_index_is_named(store: BlobStore) -> None:
    image = StoredImage(3, digest(b"abc"))
    target = RecordingDevice(3)
    with pytest.raises(CorruptDataError, match=digest(b"abc").hex()):
        restore_image(image, store, target)
    assert target.writes == []


def flip_byte_of(backend: Backend, store: BlobStore, blob_id: bytes, byte: int) -> None:
    """Damage the stored form of a blob."""
    found = store.find(BlobType.DATA, blob_id)
    assert found is not None
    pack_id, blob = found
    (info,) = (info for info in backend.list_files(FileType.PACK) if info.handle.name == pack_id.hex())
    content = bytearray(backend.load(info.handle))
    content[blob.offset + byte % blob.length] ^= 0x40
    backend.save(info.handle, content)


@pytest.mark.damages_repository("a byte of a blob is wrong")
@pytest.mark.parametrize("byte", [0, 15, 16, 2000, -17, -16, -1])
def test_a_damaged_blob_is_named_and_never_becomes_wrong_bytes(backend: Backend, store: BlobStore, byte: int) -> None:
    image = save(store, CONTENT)
    blob_id = digest(CONTENT[5 * BLOCK : 6 * BLOCK])
    flip_byte_of(backend, store, blob_id, byte)
    before = noise(10, 5)[: len(CONTENT)]
    target = BytesTarget(len(CONTENT), before)
    with pytest.raises(CorruptDataError, match=f"blob {blob_id.hex()}"):
        restore_image(image, store, target, options=OPTIONS)
    assert target.flushes == 0
    now = target.content()
    for start in range(0, len(CONTENT), BLOCK):
        block = slice(start, start + BLOCK)
        assert now[block] in (CONTENT[block], before[block])


@pytest.mark.damages_repository("a byte of a blob is wrong")
def test_a_damaged_blob_ends_a_dump_before_its_bytes(
    backend: Backend, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icebrick.engine.block.restore.WINDOW", BLOCK)
    image = save(store, CONTENT)
    blob_id = digest(CONTENT[5 * BLOCK : 6 * BLOCK])
    flip_byte_of(backend, store, blob_id, 20)
    parts: list[bytes] = []
    with pytest.raises(CorruptDataError, match=f"blob {blob_id.hex()}"):
        dump_image(image, store, lambda data: parts.append(bytes(data)), options=OPTIONS)
    assert b"".join(parts) == CONTENT[: 5 * BLOCK]


@pytest.mark.damages_repository("a byte of a blob is wrong")
def test_damage_where_the_target_is_right_already_does_no_harm(backend: Backend, store: BlobStore) -> None:
    image = save(store, CONTENT)
    flip_byte_of(backend, store, digest(CONTENT[:BLOCK]), 20)
    target = BytesTarget(len(CONTENT), CONTENT)
    restore_image(image, store, target, options=OPTIONS)
    assert target.content() == CONTENT


@pytest.mark.damages_repository("a pack is gone")
def test_a_pack_that_is_gone_is_named(backend: Backend, store: BlobStore) -> None:
    image = save(store, CONTENT)
    packs = [info.handle for info in backend.list_files(FileType.PACK)]
    for handle in packs:
        backend.remove(handle)
    with pytest.raises(CorruptDataError, match=r"damaged: data/[0-9a-f]{64}"):
        restore_image(image, store, BytesTarget(len(CONTENT)), options=OPTIONS)


class Failing(BytesTarget):
    """A device that takes no data at one place, or gives none."""

    def __init__(self, size: int, *, write: int = -1, read: int = -1, data: Data = b"") -> None:
        self.bad_write, self.bad_read = -1, read
        super().__init__(size, data)
        self.bad_write = write

    def write(self, offset: int, data: Data) -> None:
        if offset == self.bad_write:
            raise AttachError(f"cannot write {len(data)} bytes at {offset}: no space left on device")
        super().write(offset, data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if offset == self.bad_read:
            raise AttachError(f"cannot read {len(buffer)} bytes at {offset}: input/output error")
        super().read_into(offset, buffer)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Failing(len(CONTENT), write=2 * BLOCK), "cannot write 4096 bytes at 8192"),
        (Failing(len(CONTENT), read=2 * BLOCK, data=CONTENT), "cannot read 4096 bytes at 8192"),
    ],
    ids=["write", "read"],
)
def test_a_device_that_fails_ends_the_restore(store: BlobStore, target: Failing, message: str) -> None:
    with pytest.raises(AttachError, match=message):
        restore_image(save(store, CONTENT), store, target, options=OPTIONS)
    assert target.flushes == 0


def test_a_verification_reports_the_first_hundred_differences(store: BlobStore) -> None:
    image = save(store, noise(150))
    stats = verify_image(image, store, BytesSource(bytes(150 * BLOCK)), options=OPTIONS)
    assert stats.mismatches == 150
    assert stats.first_mismatches == [Extent(number * BLOCK, BLOCK) for number in range(100)]


def test_a_verification_says_what_it_compared(store: BlobStore) -> None:
    image = save(store, CONTENT)
    stats = verify_image(image, store, BytesSource(CONTENT + b"behind"), options=OPTIONS)
    assert (stats.size, stats.blocks, stats.zeros, stats.mismatches) == (len(CONTENT), 10, 2, 0)
    assert stats.digest == image.digest


def test_a_device_that_ends_too_early_does_not_match(store: BlobStore) -> None:
    image = save(store, CONTENT)
    stats = verify_image(image, store, BytesSource(CONTENT[:-1]), options=OPTIONS)
    assert stats.first_mismatches == [Extent(9 * BLOCK, 100)]


def test_zeros_do_not_match_data_nor_data_zeros(store: BlobStore) -> None:
    image = save(store, noise(1) + bytes(BLOCK))
    stats = verify_image(image, store, BytesSource(bytes(BLOCK) + noise(1)), options=OPTIONS)
    assert stats.mismatches == 2


def test_a_device_that_cannot_be_read_ends_the_verification(store: BlobStore) -> None:
    image = save(store, CONTENT)
    with pytest.raises(AttachError, match="input/output error"):
        verify_image(image, store, Failing(len(CONTENT), read=BLOCK, data=CONTENT), options=OPTIONS)


@pytest.mark.parametrize(
    "content", [b"", CONTENT, bytes(5 * BLOCK), noise(20)], ids=["none", "mixed", "zeros", "noise"]
)
@pytest.mark.parametrize("before", [b"", CONTENT, noise(25, 8)], ids=["empty", "right", "other"])
def test_progress_reaches_the_size_of_the_image(store: BlobStore, content: bytes, before: bytes) -> None:
    image = save(store, content)
    target, progress = BytesTarget(25 * BLOCK, before), SumProgress()
    restore_image(image, store, target, options=OPTIONS, progress=progress)
    assert progress.done == progress.total == len(content)
    verify_image(image, store, target, options=OPTIONS, progress=progress)
    assert progress.done == progress.total == len(content)
    dump_image(image, store, lambda data: None, options=OPTIONS, progress=progress)
    assert progress.done == progress.total == len(content)


def test_a_restore_by_another_process_gives_the_same(backend: Backend, store: BlobStore, key: Key) -> None:
    image = save(store, CONTENT)
    target = BytesTarget(len(CONTENT))
    restore_image(image, load_blobstore(backend, key), target)
    assert target.content() == CONTENT
