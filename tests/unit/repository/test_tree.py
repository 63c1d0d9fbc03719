from __future__ import annotations

import json
import os
import stat
import tracemalloc

import pytest

from icebrick.errors import CorruptDataError
from icebrick.repository.timestamp import parse_timestamp
from icebrick.repository.tree import ExtendedAttribute, Node, decode_tree, encode_tree, go_mode, st_mode

ID = bytes(range(32))
MANY = b"".join(number.to_bytes(32, "big") for number in range(1000))


def test_a_node_is_written_in_restic_s_order_without_empty_fields() -> None:
    node = Node(
        "a&b",
        mode=0o644,
        mtime=parse_timestamp("2026-11-23T06:25:51.5+02:00"),
        user="root",
        size=7,
        links=1,
        extended_attributes=(ExtendedAttribute("user.a", b"\x00\xff"),),
        content=ID,
        error="bad",
    )
    assert encode_tree([node]) == (
        rb'{"nodes":[{"name":"a\u0026b","type":"file","mode":420,"mtime":"2026-11-23T06:25:51.5+02:00",'
        rb'"atime":"0001-01-01T00:00:00Z","ctime":"0001-01-01T00:00:00Z","uid":0,"gid":0,"user":"root",'
        rb'"size":7,"links":1,"extended_attributes":[{"name":"user.a","value":"AP8="}],"content":["'
        + ID.hex().encode()
        + b'"],"error":"bad"}]}\n'
    )


def test_an_empty_tree_is_written_as_restic_does() -> None:
    assert encode_tree([]) == b'{"nodes":[]}\n'


@pytest.mark.parametrize(("kind", "content"), [("file", []), ("dir", None), ("symlink", None), ("fifo", None)])
def test_only_files_have_a_list_when_there_is_no_content(kind: str, content: object) -> None:
    assert json.loads(encode_tree([Node("x", type=kind)]))["nodes"][0]["content"] == content


def test_nodes_are_sorted_by_the_bytes_of_their_names() -> None:
    names = ["b", "a", "ö", "\udcff", "😀", "\ufffd"]
    assert [node.name for node in decode_tree(encode_tree(map(Node, names)))] == [
        "a",
        "b",
        "ö",
        "\ufffd",
        "😀",
        "\udcff",
    ]


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two nodes named 'x'"):
        encode_tree([Node("x"), Node("x", size=1)])


@pytest.mark.parametrize("content", [b"", ID, MANY[: 32 * 63], MANY[: 32 * 64], MANY])
def test_content_of_any_length_comes_back(content: bytes) -> None:
    nodes = [Node("a", content=content), Node("b", content=ID), Node("c", content=content[::-1])]
    assert decode_tree(encode_tree(nodes)) == nodes


def test_content_written_with_spaces_is_read_too() -> None:
    spaced = json.dumps(json.loads(encode_tree([Node("a", content=MANY)])), indent=1).encode()
    assert decode_tree(spaced)[0].content == MANY


def test_a_million_ids_never_become_a_million_objects() -> None:
    content = bytes(32) * 30_000
    tracemalloc.start()
    try:
        tree = encode_tree([Node("volume.raw", content=content)])
        assert tracemalloc.get_traced_memory()[1] < 2.5 * len(tree)
        tracemalloc.reset_peak()
        decode_tree(tree)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(tree)
    finally:
        tracemalloc.stop()


def test_text_that_looks_like_a_content_is_left_alone() -> None:
    trap = '"content":["' + "a" * 10_000
    node = Node("x", type="symlink", linktarget=trap, user='\\"content":[' + "]")
    assert decode_tree(encode_tree([node])) == [node]


@pytest.mark.parametrize("damage", [b"g", b" ", b'"', b"\xff"])
def test_a_long_content_with_one_wrong_digit_is_corrupt(damage: bytes) -> None:
    tree = bytearray(encode_tree([Node("a", content=MANY)]))
    place = tree.index(b'"content":["') + 12 + 67 * 500
    tree[place : place + 1] = damage
    with pytest.raises(CorruptDataError):
        decode_tree(bytes(tree))


def test_a_number_instead_of_content_is_corrupt() -> None:
    with pytest.raises(CorruptDataError, match="content"):
        decode_tree(b'{"nodes":[{"name":"a","type":"file","content":0}]}')


def test_a_link_target_that_is_not_utf8_is_kept_by_its_raw_field() -> None:
    node = Node("l", type="symlink", linktarget=os.fsdecode(b"a\xff"))
    tree = encode_tree([node])
    assert b'"linktarget":"a\\ufffd","linktarget_raw":"Yf8="' in tree
    assert decode_tree(tree) == [node]


def test_attributes_of_other_systems_are_kept() -> None:
    stored = b'"generic_attributes":{"windows.creation_time":"\\u003c","windows.file_attributes":32}'
    tree = encode_tree([Node("a")]).replace(b'"content"', stored + b',"content"')
    assert encode_tree(decode_tree(tree)) == tree


def test_unknown_fields_are_passed_over() -> None:
    tree = encode_tree([Node("a")]).replace(b'"content"', b'"new":{"x":[1]},"content"')
    assert decode_tree(tree) == [Node("a")]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", r"a\x00b", r"..\x2f"])
def test_a_name_that_could_lead_elsewhere_is_corrupt(name: str) -> None:
    with pytest.raises(CorruptDataError, match="forbidden name"):
        decode_tree(json.dumps({"nodes": [{"name": name, "type": "file"}]}).encode())


def test_a_name_that_is_not_quoted_is_corrupt() -> None:
    with pytest.raises(CorruptDataError, match="cannot be read"):
        decode_tree(json.dumps({"nodes": [{"name": "a\\q"}]}).encode())


@pytest.mark.parametrize("tree", [b"", b"[]", b'{"nodes":{}}', b'{"nodes":[1]}', b'{"nodes":[{"name":"a","mode":-1}]}'])
def test_what_is_not_a_tree_is_corrupt(tree: bytes) -> None:
    with pytest.raises(CorruptDataError):
        decode_tree(tree)


@pytest.mark.parametrize(
    ("unix", "go"),
    [
        (stat.S_IFREG | 0o644, 420),
        (stat.S_IFREG | stat.S_ISUID | stat.S_ISGID | 0o755, 12583405),
        (stat.S_IFDIR | 0o755, 2147484141),
        (stat.S_IFDIR | stat.S_ISVTX | 0o777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 134218239),
        (stat.S_IFIFO | 0o644, 33554852),
        (stat.S_IFSOCK | 0o600, 1 << 24 | 0o600),
        (stat.S_IFBLK | 0o660, 1 << 26 | 0o660),
        (stat.S_IFCHR | 0o660, 1 << 26 | 1 << 21 | 0o660),
    ],
)
def test_modes_are_go_s_in_the_repository_and_unix_s_here(unix: int, go: int) -> None:
    assert go_mode(unix) == go
    assert st_mode(go) == unix


def test_a_kind_of_file_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        go_mode(0o050000)
    with pytest.raises(ValueError, match="unknown kind"):
        st_mode(1 << 31 | 1 << 27)
