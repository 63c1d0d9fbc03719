"""What a file system was is kept, and a record that may be hostile is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from icebrick.errors import CorruptDataError, RepositoryError
from icebrick.filesystem.base import FileSystem
from icebrick.filesystem.record import decode_record, encode_record

UUID = "01234567-89ab-cdef-0123-456789abcdef"
EXT4 = FileSystem("ext4", "label \udcff", UUID, 1 << 40, {"block_size": 4096}, frozenset({"64bit", "has_journal"}))
BTRFS = FileSystem("btrfs", "", UUID, 1 << 30, {"node_size": 16384}, checksum="xxhash")


@pytest.mark.parametrize("file_system", [EXT4, BTRFS])
def test_what_is_kept_comes_back(file_system: FileSystem) -> None:
    assert decode_record(encode_record(file_system), "it") == file_system


def test_a_record_is_always_the_same_bytes() -> None:
    assert encode_record(EXT4) == encode_record(decode_record(encode_record(EXT4), "it"))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("format", "another", "format"),
        ("type", "ext2", "type"),
        ("type", None, "type"),
        ("uuid", "random", "uuid"),
        ("uuid", UUID + "\n--help", "uuid"),
        ("size", -1, "size"),
        ("size", 1 << 63, "size"),
        ("size", True, "size"),
        ("label_raw", "!", "label_raw"),
        ("label_raw", "AA==", "label_raw"),
        ("label_raw", "eHh4" * 100, "label_raw"),
        ("features", ["64bit", 7], "features"),
        ("features", ["64bit,^has_journal"], "letters, digits"),
        ("features", ["a"] * 101, "features"),
        ("settings", {"block_size": "4096"}, "block_size"),
        ("settings", {"-U x": 4096}, "letters, digits"),
        ("checksum", "sha256 --rootdir /", "letters, digits"),
    ],
)
def test_what_mkfs_should_not_be_told_is_refused(key: str, value: Any, complaint: str) -> None:
    document = json.loads(encode_record(EXT4)) | {key: value}
    with pytest.raises(CorruptDataError, match=complaint) as caught:
        decode_record(json.dumps(document).encode(), "filesystem.json of snapshot 12")
    assert str(caught.value).startswith("filesystem.json of snapshot 12: ")


def test_a_later_version_asks_for_a_later_icebrick() -> None:
    document = json.loads(encode_record(EXT4)) | {"version": 2}
    with pytest.raises(RepositoryError, match="has version 2, this icebrick reads up to 1"):
        decode_record(json.dumps(document).encode(), "it")
