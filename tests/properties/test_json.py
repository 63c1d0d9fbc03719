"""What is written comes back, for anything that can be written."""

from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from icebrick.repository import gojson
from icebrick.repository.snapshot import Snapshot, SnapshotSummary, decode_snapshot, encode_snapshot
from icebrick.repository.timestamp import Timestamp, parse_timestamp
from icebrick.repository.tree import ExtendedAttribute, Node, decode_tree, encode_tree

UNSIGNED = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
OS_TEXT = st.one_of(st.binary(max_size=40), TEXT.map(str.encode)).map(os.fsdecode)
NAMES = OS_TEXT.filter(lambda name: name not in {"", ".", ".."} and "/" not in name and "\0" not in name)
TIMES = st.builds(
    Timestamp,
    st.integers(-62_167_132_800 * 10**9, 253_402_214_400 * 10**9),  # a day inside what four digits of a year can say
    st.integers(-23 * 60, 23 * 60),
)
IDS = st.binary(min_size=32, max_size=32)
CONTENTS = st.one_of(
    st.lists(IDS, max_size=3).map(b"".join),
    st.tuples(IDS, st.integers(60, 70)).map(lambda pair: pair[0] * pair[1]),
)
NODES = st.builds(
    Node,
    name=NAMES,
    type=st.sampled_from(["file", "dir", "symlink", "dev", "chardev", "fifo", "socket", "irregular", ""]),
    mode=st.integers(0, 2**32 - 1),
    mtime=TIMES,
    atime=TIMES,
    ctime=TIMES,
    uid=UNSIGNED,
    gid=UNSIGNED,
    user=TEXT,
    group=TEXT,
    inode=UNSIGNED,
    device_id=UNSIGNED,
    size=UNSIGNED,
    links=UNSIGNED,
    linktarget=OS_TEXT,
    extended_attributes=st.lists(st.builds(ExtendedAttribute, TEXT, st.binary()), max_size=2).map(tuple),
    device=UNSIGNED,
    content=CONTENTS,
    subtree=st.none() | IDS,
    error=TEXT,
)
TREES = st.lists(NODES, max_size=4, unique_by=lambda node: node.name)
HEX_IDS = st.none() | IDS.map(bytes.hex)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
SNAPSHOTS = st.builds(
    Snapshot,
    TIMES,
    IDS,
    TEXTS,
    hostname=TEXT,
    username=TEXT,
    uid=UNSIGNED,
    gid=UNSIGNED,
    parent=HEX_IDS,
    excludes=TEXTS,
    tags=TEXTS,
    original=HEX_IDS,
    program_version=TEXT,
    summary=st.none() | st.builds(SnapshotSummary, TIMES, TIMES, UNSIGNED, data_added=UNSIGNED),
    id=HEX_IDS,
)


@given(TREES)
def test_a_tree_comes_back_sorted(nodes: list[Node]) -> None:
    assert decode_tree(encode_tree(nodes)) == sorted(nodes, key=lambda node: os.fsencode(node.name))


@given(TREES)
def test_equal_trees_have_equal_bytes_whatever_order_they_are_built_in(nodes: list[Node]) -> None:
    tree = encode_tree(nodes)
    assert encode_tree(reversed(nodes)) == tree
    assert encode_tree(decode_tree(tree)) == tree


@given(SNAPSHOTS)
def test_a_snapshot_comes_back(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode_snapshot(snapshot), snapshot.id) == snapshot


@given(TIMES)
def test_a_time_comes_back(time: Timestamp) -> None:
    assert parse_timestamp(str(time)) == time


@given(OS_TEXT)
def test_quoted_text_comes_back(text: str) -> None:
    quoted = gojson.quote(text)
    assert quoted.isprintable()
    assert gojson.unquote(quoted) == text


@given(
    st.recursive(
        st.none() | st.booleans() | UNSIGNED | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
    )
)
def test_json_means_what_it_says_and_is_safe_in_html(value: gojson.JsonValue) -> None:
    encoded = gojson.encode(value)
    assert json.loads(encoded) == value
    assert not set(b"<>&") & set(encoded)
