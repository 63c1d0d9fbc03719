from __future__ import annotations

import dataclasses
import logging
import random

import pytest

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.engine.block.backup import Baseline, BlockOptions, ImageResult, backup_image
from icebrick.engine.block.blocks import Blocks
from icebrick.engine.block.fingerprint import (
    FINGERPRINT_SIZE,
    SEGMENT,
    Fingerprinter,
    Fingerprints,
    decode_fingerprints,
    encode_fingerprints,
    new_fingerprint_key,
)
from icebrick.engine.block.image import StoredImage, block_ids, find_image, image_digest
from icebrick.engine.block.zerolist import ZERO_BLOCK
from icebrick.engine.block.zeros import SPARSE_ZERO, WIDE_BLOCKS, ZeroTest, zero_id
from icebrick.errors import CorruptDataError
from icebrick.parallel import Slots
from icebrick.repository.blobstore import BlobStore, load_blobstore
from icebrick.repository.crypto import Key
from icebrick.repository.ids import ID_SIZE, BlobType, digest
from icebrick.repository.tree import Node, encode_tree
from icebrick.testing.bytesdevice import BytesSource
from icebrick.testing.images import MOMENT

BLOCK = 4096


def noise(blocks: int, seed: int = 0, block: int = BLOCK) -> bytes:
    return random.Random(seed).randbytes(blocks * block)


def save(store: BlobStore, content: bytes, block: int = BLOCK) -> tuple[ImageResult, bytes]:
    """An image, and the tree it lies in."""
    options = BlockOptions(block_size=block, slots=Slots(2))
    with store.writer() as writer:
        result = backup_image(BytesSource(content), writer, MOMENT, options=options)
        return result, writer.save(BlobType.TREE, encode_tree(result.nodes))


def save_tree(store: BlobStore, *nodes: Node) -> bytes:
    with store.writer() as writer:
        return writer.save(BlobType.TREE, encode_tree(nodes))


def test_an_image_is_found_as_it_was_saved(store: BlobStore) -> None:
    result, tree = save(store, noise(5) + bytes(BLOCK) + b"end")
    assert find_image(store, tree) == result.image


@pytest.mark.parametrize("nodes", [(), (Node("other"),), (Node("volume.raw", type="dir", subtree=bytes(32)),)])
def test_a_tree_without_an_image_has_none(store: BlobStore, nodes: tuple[Node, ...]) -> None:
    assert find_image(store, save_tree(store, *nodes)) is None


def test_an_image_of_restic_is_found_without_fingerprints(store: BlobStore) -> None:
    tree = save_tree(store, Node("volume.raw", size=3, content=digest(b"abc")))
    assert find_image(store, tree) == StoredImage(3, digest(b"abc"))


def spoil_fingerprints(backend: Backend, store: BlobStore, result: ImageResult, how: str) -> None:
    found = store.find(BlobType.DATA, result.nodes[0].content[:32])
    assert found is not None
    pack_id, blob = found
    handle = Handle(FileType.PACK, pack_id.hex())
    pack = bytearray(backend.load(handle))
    if how == "damaged":
        pack[blob.offset + 20] ^= 1
    elif how == "cut short":
        del pack[blob.offset + 20 :]
    if how == "gone":
        backend.remove(handle)
    else:
        backend.save(handle, pack)


@pytest.mark.damages_repository("a pack is spoilt")
@pytest.mark.parametrize("how", ["damaged", "cut short", "gone"])
def test_fingerprints_that_cannot_be_read_cost_time_and_not_the_backup(
    backend: Backend, store: BlobStore, key: Key, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    with store.writer() as writer:
        result = backup_image(BytesSource(noise(2)), writer, MOMENT, options=BlockOptions(BLOCK, slots=Slots(1)))
    tree = save_tree(store, *result.nodes)
    spoil_fingerprints(backend, store, result, how)
    with caplog.at_level(logging.WARNING):
        image = find_image(load_blobstore(backend, key), tree)
    assert image == dataclasses.replace(result.image, fingerprints=None)
    assert "fingerprints not usable" in caplog.text


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 48, bytes(48)])
def test_a_fingerprint_file_that_is_none_is_left_aside(store: BlobStore, content: bytes) -> None:
    with store.writer() as writer:
        blob = writer.save(BlobType.DATA, content)
    beside = Node("volume.fingerprints", size=len(content), content=blob)
    tree = save_tree(store, Node("volume.raw", size=3, content=digest(b"abc")), beside)
    assert find_image(store, tree) == StoredImage(3, digest(b"abc"))


def test_the_digest_of_an_image_is_that_of_its_size_and_ids() -> None:
    content = digest(b"a") + digest(b"b")
    assert StoredImage(300, content).digest == digest(b"\x2c\x01" + bytes(6) + content).hex()
    assert image_digest(300, content) == StoredImage(300, content).digest


def test_images_of_different_sizes_have_different_digests() -> None:
    assert StoredImage(1, b"").digest != StoredImage(2, b"").digest


def test_the_ids_of_blocks_are_those_of_the_content_with_zeros_for_zeros(store: BlobStore) -> None:
    result, _ = save(store, noise(1) + bytes(BLOCK) + noise(1, 1) + bytes(9))
    assert block_ids(result.image) == (digest(noise(1)) + ZERO_BLOCK + digest(noise(1, 1)) + ZERO_BLOCK)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("rest", [0, SPARSE_ZERO, SPARSE_ZERO + 1])
def test_a_zero_block_cut_for_restic_is_one_block_again(store: BlobStore, first: int, rest: int) -> None:
    large = 2 * SPARSE_ZERO
    result, _ = save(store, noise(first, block=large) + bytes(2 * large + rest), block=large)
    ids = block_ids(result.image)
    assert ids == digest(noise(1, block=large)) * first + ZERO_BLOCK * (3 if rest else 2)


def test_eight_blocks_of_zeros_are_one_blob_and_eight_blocks_again(store: BlobStore) -> None:
    zeros = 3 * WIDE_BLOCKS
    result, _ = save(store, noise(1) + bytes((WIDE_BLOCKS - 1 + zeros) * BLOCK) + noise(1, 1) + bytes(9))
    wide = digest(bytes(WIDE_BLOCKS * BLOCK))
    assert result.image.content.count(wide) == zeros // WIDE_BLOCKS
    assert len(result.image.content) == (1 + WIDE_BLOCKS - 1 + zeros // WIDE_BLOCKS + 2) * ID_SIZE
    assert block_ids(result.image) == (
        digest(noise(1)) + ZERO_BLOCK * (WIDE_BLOCKS - 1 + zeros) + digest(noise(1, 1)) + ZERO_BLOCK
    )


def test_an_image_without_fingerprints_has_no_blocks(store: BlobStore) -> None:
    result, _ = save(store, noise(2))
    assert block_ids(dataclasses.replace(result.image, fingerprints=None)) is None


@pytest.mark.parametrize("blocks", [Blocks(2 * BLOCK, 2 * BLOCK), Blocks(BLOCK, BLOCK), Blocks(2 * BLOCK, BLOCK // 2)])
def test_fingerprints_of_another_image_are_not_believed(store: BlobStore, blocks: Blocks) -> None:
    result, _ = save(store, noise(2))
    other = Fingerprints(blocks, bytes(16), bytes(blocks.count * FINGERPRINT_SIZE))
    assert block_ids(dataclasses.replace(result.image, fingerprints=other)) is None


def test_data_is_not_taken_for_zeros_because_its_fingerprint_was_lost(store: BlobStore) -> None:
    result, _ = save(store, noise(2))
    assert result.image.fingerprints is not None
    blank = dataclasses.replace(result.image.fingerprints, values=bytes(2 * FINGERPRINT_SIZE))
    ids = block_ids(dataclasses.replace(result.image, fingerprints=blank))
    assert ids is None


@pytest.mark.parametrize("count", [0, 1, SEGMENT // FINGERPRINT_SIZE, SEGMENT // FINGERPRINT_SIZE + 1])
def test_a_fingerprint_file_says_what_was_written(count: int) -> None:
    values = random.Random(1).randbytes(count * FINGERPRINT_SIZE)
    fingerprints = Fingerprints(Blocks(count * 512, 512), new_fingerprint_key(), values)
    parts = list(encode_fingerprints(fingerprints))
    assert decode_fingerprints(sum(map(len, parts)), parts) == fingerprints
    assert len(parts[0]) == 48
    assert all(len(part) <= SEGMENT for part in parts)


def test_the_layout_of_a_fingerprint_file_never_changes() -> None:
    fingerprints = Fingerprints(Blocks(700, 512), bytes(range(16)), b"a" * 16 + b"b" * 16)
    assert b"".join(encode_fingerprints(fingerprints)) == (
        b"icebrick-fp-1\n\0\0"
        + bytes(range(16))
        + b"\0\2\0\0"
        + b"\0\0\0\0"
        + b"\xbc\2\0\0\0\0\0\0"
        + b"a" * 16
        + b"b" * 16
    )


WHOLE = b"".join(encode_fingerprints(Fingerprints(Blocks(700, 512), bytes(16), bytes(32))))


@pytest.mark.parametrize(
    "data", [WHOLE[:-1], WHOLE + b"\0", WHOLE[:47], b"", b"X" + WHOLE[1:], WHOLE[:32] + bytes(4) + WHOLE[36:]]
)
def test_what_is_no_fingerprint_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        decode_fingerprints(len(data), [data])


def test_a_fingerprint_is_the_gmac_that_the_format_names() -> None:
    # test case 1 of the specification of GCM
    assert Fingerprinter(bytes(16))(b"").hex() == "58e2fccefa7e3061367f1d57a4e7455a"


def test_a_fingerprint_depends_on_every_bit_and_on_the_key() -> None:
    block = bytearray(noise(1)[:64])
    fingerprint = Fingerprinter(bytes(16))
    seen = {fingerprint(block), Fingerprinter(b"k" * 16)(block), fingerprint(bytes(block) + b"\0")}
    for bit in range(512):
        block[bit // 8] ^= 1 << bit % 8
        seen.add(fingerprint(block))
        block[bit // 8] ^= 1 << bit % 8
    assert len(seen) == 3 + 512


@pytest.mark.parametrize("length", [0, 1, 7, 100, 4096])
def test_zeros_are_told_from_everything_else(length: int) -> None:
    is_zero = ZeroTest(4096)
    data = bytearray(length)
    assert is_zero(data)
    assert is_zero(memoryview(data))
    for position in {0, length // 2, length - 1} if length else ():
        data[position] = 1
        assert not is_zero(memoryview(data))
        data[position] = 0


def test_the_id_of_zeros_is_their_digest() -> None:
    assert zero_id(100) == digest(bytes(100))


@pytest.mark.damages_repository("a pack is spoilt")
def test_a_damaged_tree_is_corrupt(backend: Backend, store: BlobStore) -> None:
    tree = save_tree(store, Node("volume.raw", size=3, content=digest(b"abc")))
    (info,) = backend.list_files(FileType.PACK)
    pack = bytearray(backend.load(info.handle))
    pack[3] ^= 1
    backend.save(info.handle, pack)
    with pytest.raises(CorruptDataError, match=tree.hex()):
        find_image(store, tree)


def test_the_parent_decides_how_a_child_is_cut(store: BlobStore) -> None:
    result, _ = save(store, noise(4))
    with store.writer() as writer:
        child = backup_image(BytesSource(noise(5)), writer, MOMENT, baseline=Baseline(result.image))
    assert len(child.image.content) == 5 * 32
