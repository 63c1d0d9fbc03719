from __future__ import annotations

from dataclasses import replace

import pytest

from icebrick.errors import CorruptDataError
from icebrick.repository.snapshot import Snapshot, SnapshotSummary, decode_snapshot, encode_snapshot
from icebrick.repository.timestamp import parse_timestamp

TIME = parse_timestamp("2026-11-23T06:25:51.778062583+01:00")
TREE = bytes(range(32))
MINIMAL = Snapshot(TIME, TREE, ("/v",), "")
FULL = Snapshot(
    TIME,
    TREE,
    ("/a<b", "/ö"),
    "host",
    "root",
    1,
    2,
    parent="ab" * 32,
    excludes=("*.o",),
    tags=("one", "two"),
    original="cd" * 32,
    program_version="icebrick 0.1",
    summary=SnapshotSummary(TIME, TIME, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
)


def test_a_snapshot_is_written_in_restic_s_order() -> None:
    assert encode_snapshot(replace(FULL, summary=None)) == (
        b'{"time":"2026-11-23T06:25:51.778062583+01:00","parent":"'
        + b"ab" * 32
        + b'","tree":"'
        + TREE.hex().encode()
        + b'","paths":["/a\\u003cb","/\xc3\xb6"],"hostname":"host","username":"root","uid":1,"gid":2,'
        b'"excludes":["*.o"],"tags":["one","two"],"original":"' + b"cd" * 32 + b'","program_version":"icebrick 0.1"}'
    )


def test_empty_fields_are_left_out() -> None:
    assert encode_snapshot(MINIMAL) == (
        b'{"time":"2026-11-23T06:25:51.778062583+01:00","tree":"' + TREE.hex().encode() + b'","paths":["/v"]}'
    )


def test_the_summary_keeps_its_zeros() -> None:
    written = encode_snapshot(replace(MINIMAL, summary=SnapshotSummary(TIME, TIME)))
    assert written.endswith(
        b'"files_new":0,"files_changed":0,"files_unmodified":0,"dirs_new":0,"dirs_changed":0,"dirs_unmodified":0,'
        b'"data_blobs":0,"tree_blobs":0,"data_added":0,"data_added_packed":0,"total_files_processed":0,'
        b'"total_bytes_processed":0}}'
    )


@pytest.mark.parametrize("snapshot", [MINIMAL, FULL])
def test_a_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode_snapshot(snapshot), "ef" * 32) == replace(snapshot, id="ef" * 32)


def test_unknown_fields_are_passed_over() -> None:
    assert decode_snapshot(encode_snapshot(MINIMAL)[:-1] + b',"future":[{}]}', None) == MINIMAL


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"tree":"ab"}', b'{"tree":null,"paths":[]}'])
def test_what_names_no_tree_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptDataError):
        decode_snapshot(data, None)
