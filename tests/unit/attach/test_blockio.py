"""A device behaves like a row of bytes, whatever is written and discarded in whatever order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebrick.attach.device import create_image, open_image
from icebrick.blockdev import BlockTarget, Extent
from icebrick.testing.bytesdevice import BytesTarget

SIZE = 20_000

ranges = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted)
operations = st.lists(st.tuples(ranges, st.one_of(st.none(), st.integers(0, 255))), max_size=8)
"""A range, and the byte it is filled with; None discards it."""


def perform(target: BlockTarget, steps: list[tuple[list[int], int | None]]) -> bytes:
    """Do the same to a device and to its model; the model's bytes at the end."""
    model = bytearray(SIZE)
    for (start, end), byte in steps:
        if byte is None:
            target.discard(Extent(start, end - start))
        else:
            target.write(start, bytes([byte]) * (end - start))
        model[start:end] = bytes([byte or 0]) * (end - start)
    return bytes(model)


def content(target: BlockTarget) -> bytes:
    buffer = bytearray(target.size)
    target.read_into(0, memoryview(buffer))
    return bytes(buffer)


def outside_extents(target: BlockTarget, model: bytes) -> bytes:
    rest = bytearray(model)
    for extent in target.extents():
        rest[extent.offset : extent.end] = bytes(extent.length)
    return bytes(rest)


@given(operations)
def test_memory_is_like_a_row_of_bytes(steps: list[tuple[list[int], int | None]]) -> None:
    target = BytesTarget(SIZE)
    model = perform(target, steps)
    assert content(target) == model
    assert not any(outside_extents(target, model))


@settings(max_examples=30, deadline=None)
@given(operations)
def test_a_file_is_like_a_row_of_bytes(steps: list[tuple[list[int], int | None]]) -> None:
    with tempfile.TemporaryDirectory() as directory, create_image(Path(directory) / "image", SIZE) as target:
        model = perform(target, steps)
        assert content(target) == model
        assert not any(outside_extents(target, model))


@pytest.mark.parametrize("size", [1, 511, 4095, 4097, (1 << 20) + 1])
@pytest.mark.parametrize("direct", [False, True])
def test_an_image_of_any_size_reads_to_its_last_byte(tmp_path: Path, size: int, direct: bool) -> None:
    data = bytes(n % 251 for n in range(size))
    (tmp_path / "image").write_bytes(data)
    with open_image(tmp_path / "image", direct=direct) as source:
        buffer = bytearray(size)
        source.read_into(0, memoryview(buffer))
    assert buffer == data


def test_an_empty_image_has_no_extents(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    with open_image(tmp_path / "image") as source:
        assert (source.size, list(source.extents())) == (0, [])


def test_a_copy_in_memory_is_independent() -> None:
    first = BytesTarget(SIZE, b"data")
    second = first.copy()
    second.write(0, b"other")
    assert content(first)[:5] == b"data\0"


def test_memory_takes_only_what_was_written() -> None:
    target = BytesTarget(1 << 40)
    target.write(1 << 39, b"data")
    assert [extent.offset for extent in target.extents()] == [1 << 39]


def test_discarded_memory_is_given_back() -> None:
    target = BytesTarget(SIZE, b"x" * SIZE)
    target.discard(Extent(0, SIZE))
    assert list(target.extents()) == []
