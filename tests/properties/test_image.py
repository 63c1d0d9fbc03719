"""Whatever a volume holds, a backup gives it back, and every shortcut comes to the same as the long way."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebrick.blockdev import Extent
from icebrick.engine.block.backup import Baseline, BlockOptions, backup_image
from icebrick.engine.block.blocks import Blocks
from icebrick.engine.block.fingerprint import FINGERPRINT_SIZE, Fingerprints
from icebrick.engine.block.image import StoredImage
from icebrick.engine.block.restore import dump_image, restore_image
from icebrick.engine.block.verify import verify_image
from icebrick.parallel import Slots
from icebrick.repository.blobstore import BlobStore, load_blobstore
from icebrick.repository.crypto import new_key
from icebrick.repository.index.index import Index
from icebrick.testing.bytesdevice import BytesSource
from icebrick.testing.images import MOMENT, FixedChanges, RecordingDevice
from icebrick.testing.repositories import empty_repository

BLOCK = 4096
SPARSE = 512 << 10
KINDS = ("zero", "noise", "same", "one byte", "last byte")
VOLUMES = settings(max_examples=60, deadline=None)


def fill(kind: str, length: int, seed: int) -> bytes:
    if kind == "noise":
        return random.Random(seed).randbytes(length)
    if kind == "same":
        return (b"same" * (length // 4 + 1))[:length]
    if not length or kind == "zero":
        return bytes(length)
    return b"\x01" + bytes(length - 1) if kind == "one byte" else bytes(length - 1) + b"\x01"


@st.composite
def contents(draw: st.DrawFn, block: int = BLOCK, most: int = 12) -> bytes:
    """A volume's bytes: some blocks, the last one perhaps short."""
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=most))
    rest = draw(st.sampled_from([0, 1, 511, 512, 513, block - 512, block - 1])) if kinds else 0
    seeds = draw(st.integers(0, 5))
    parts = [fill(kind, block, seeds + number) for number, kind in enumerate(kinds)]
    if rest:
        parts[-1] = fill(kinds[-1], rest, seeds)
    return b"".join(parts)


class Archive:
    """Images in a repository in memory."""

    def __init__(self, options: BlockOptions) -> None:
        self.key, self.options = new_key(), options
        self.backend = empty_repository(self.key)
        self.store = BlobStore(self.backend, self.key, Index())

    def reopen(self) -> None:
        """See only what is stored."""
        self.store = load_blobstore(self.backend, self.key)

    def save(self, content: bytes, baseline: Baseline | None = None) -> StoredImage:
        with self.store.writer() as writer:
            result = backup_image(BytesSource(content), writer, MOMENT, baseline=baseline, options=self.options)
        stats = result.stats
        assert stats.zero + stats.unchanged + stats.stored == stats.blocks
        return result.image

    def dump(self, image: StoredImage) -> bytes:
        parts: list[bytes] = []
        dump_image(image, self.store, lambda data: parts.append(bytes(data)), options=self.options)
        return b"".join(parts)

    def restore_over(self, image: StoredImage, before: bytes) -> RecordingDevice:
        target = RecordingDevice(len(before), before)
        restore_image(image, self.store, target, options=self.options)
        return target


def small() -> Archive:
    return Archive(BlockOptions(block_size=BLOCK, slots=Slots(2)))


def changed(before: bytes, after: bytes) -> tuple[Extent, ...]:
    """What an honest change map says, in pieces of 512 bytes."""
    return tuple(
        Extent(start, min(512, len(after) - start))
        for start in range(0, len(after), 512)
        if before[start : start + 512] != after[start : start + 512]
    )


@VOLUMES
@given(contents())
def test_what_was_backed_up_is_restored_dumped_and_verified(content: bytes) -> None:
    archive = small()
    image = archive.save(content)
    archive.reopen()
    assert archive.restore_over(image, bytes(len(content))).content() == content
    assert archive.dump(image) == content
    assert verify_image(image, archive.store, BytesSource(content)).mismatches == 0


@pytest.mark.parametrize("block", [SPARSE, 2 * SPARSE, 3 * SPARSE, SPARSE + 4096, 2 * SPARSE + 4096])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_large_blocks_of_any_size_come_back(block: int, data: st.DataObject) -> None:
    content = data.draw(contents(block, most=4))
    archive = Archive(BlockOptions(block_size=block, slots=Slots(2)))
    image = archive.save(content)
    archive.reopen()
    assert archive.dump(image) == content
    again = archive.save(content, Baseline(image))
    assert again.content == image.content


@VOLUMES
@given(contents(), contents(), st.sampled_from([0, 1, 512, 5000]))
def test_a_restore_changes_all_that_differs_and_nothing_else(content: bytes, before: bytes, larger: int) -> None:
    archive = small()
    image = archive.save(content)
    before = before[: len(content)].ljust(len(content), b"\x02") + b"\x03" * larger
    target = archive.restore_over(image, before)
    assert target.content() == content + before[len(content) :]
    assert target.flushes == 1
    blocks = Blocks(len(content), BLOCK)
    differing = {
        number
        for number in range(blocks.count)
        if before[slice_of(blocks, number)] != content[slice_of(blocks, number)]
    }
    touched = {number for extent in target.writes + target.discards for number in numbers(blocks, extent)}
    assert touched == differing


def slice_of(blocks: Blocks, number: int) -> slice:
    return slice(blocks.offset(number), blocks.offset(number) + blocks.length(number))


def numbers(blocks: Blocks, extent: Extent) -> range:
    return range(extent.offset // blocks.block_size, -(-extent.end // blocks.block_size))


@VOLUMES
@given(contents(), st.data())
def test_verification_finds_exactly_the_planted_differences(content: bytes, data: st.DataObject) -> None:
    archive = small()
    image = archive.save(content)
    offsets = data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)) if content else []
    spoiled = bytearray(content)
    for offset in set(offsets):
        spoiled[offset] ^= 0x10
    stats = verify_image(image, archive.store, BytesSource(bytes(spoiled)), options=archive.options)
    expected = sorted({offset // BLOCK * BLOCK for offset in offsets})
    assert [extent.offset for extent in stats.first_mismatches] == expected
    assert stats.mismatches == len(expected)
    assert stats.size == len(content)


def damaged(fingerprints: Fingerprints | None, how: str) -> Fingerprints | None:
    """What may have become of a parent's fingerprints."""
    if fingerprints is None or how == "removed":
        return None
    blocks, count = fingerprints.blocks, len(fingerprints.values)
    if how == "noise":
        return dataclasses.replace(fingerprints, values=random.Random(1).randbytes(count))
    if how == "all zero":
        return dataclasses.replace(fingerprints, values=bytes(count))
    if how == "other block size":
        other = Blocks(blocks.size, 2 * BLOCK)
        return dataclasses.replace(fingerprints, blocks=other, values=bytes(other.count * FINGERPRINT_SIZE))
    if how == "other volume":
        other = Blocks(blocks.size + BLOCK, BLOCK)
        return dataclasses.replace(fingerprints, blocks=other, values=bytes(other.count * FINGERPRINT_SIZE))
    return fingerprints


DAMAGE = ("none", "none", "none", "removed", "noise", "all zero", "other block size", "other volume")


@st.composite
def successors(draw: st.DrawFn, content: bytes) -> bytes:
    """What a volume may be at its next backup: grown or cut, and written to."""
    size = max(0, len(content) + draw(st.sampled_from([0, 0, 0, 1, 512, BLOCK, 3 * BLOCK, -1, -512, -BLOCK])))
    after = bytearray(content[:size].ljust(size, b"\0"))
    for _ in range(draw(st.integers(0, 4)) if size else 0):
        offset = draw(st.integers(0, size - 1))
        length = min(draw(st.sampled_from([1, 512, BLOCK, 2 * BLOCK])), size - offset)
        after[offset : offset + length] = fill(draw(st.sampled_from(KINDS)), length, draw(st.integers(0, 99)))
    return bytes(after)


@VOLUMES
@given(contents(), st.booleans(), st.data())
def test_every_backup_of_a_chain_equals_its_source(content: bytes, with_map: bool, data: st.DataObject) -> None:
    archive = small()
    image = archive.save(content)
    history = [(image, content)]
    for _ in range(data.draw(st.integers(1, 4))):
        after = data.draw(successors(content))
        how = data.draw(st.sampled_from(DAMAGE))
        parent = dataclasses.replace(image, fingerprints=damaged(image.fingerprints, how))
        honest = FixedChanges(changed(content, after)) if with_map and how in {"none", "removed"} else None
        if data.draw(st.booleans()):
            archive.reopen()
        image, content = archive.save(after, Baseline(parent, honest)), after
        history.append((image, content))
    archive.reopen()
    for image, content in history:
        assert archive.dump(image) == content


@VOLUMES
@given(contents(), st.data())
def test_a_backup_does_not_depend_on_its_parent(content: bytes, data: st.DataObject) -> None:
    archive = small()
    after = data.draw(successors(content))
    parent = archive.save(content)
    long_way = archive.save(after)
    by_fingerprint = archive.save(after, Baseline(parent))
    by_map = archive.save(after, Baseline(parent, FixedChanges(changed(content, after))))
    assert by_fingerprint.content == by_map.content == long_way.content
    assert by_fingerprint.digest == by_map.digest == long_way.digest
    assert by_fingerprint.fingerprints == by_map.fingerprints
