"""The text of nodes made fast is what the tree's own encoder writes, and is taken apart again."""

from __future__ import annotations

import stat

from hypothesis import given
from hypothesis import strategies as st

from icebrick.engine.file import nodes
from icebrick.engine.file.base import KINDS, Entry
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import ExtendedAttribute, Node, encode_tree, go_mode

TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFBLK: "dev",
    stat.S_IFCHR: "chardev",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
COUNT_LINKS = {"file", "symlink", "dev", "chardev"}

raw_names = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, ord("/")} & set(name))
tricky = st.sampled_from(
    ['"', "\\", '},{"name":"x","type":"', '"content":[', "<&>", "\u2028", '","type":"', ',"subtree":"']
)
names = st.one_of(raw_names.map(lambda name: name.decode("utf-8", "surrogateescape")), tricky)
times = st.integers(-(1 << 66), 1 << 66)
numbers = st.integers(0, (1 << 64) - 1)
owners = st.integers(0, (1 << 32) - 1)
entries = st.builds(
    Entry,
    names,
    st.builds(lambda kind, bits: kind | bits, st.sampled_from(sorted(KINDS)), st.integers(0, 0o7777)),
    owners,
    owners,
    times,
    times,
    numbers,
    numbers,
    numbers,
    st.integers(0, 1 << 44),
    numbers,
)
attributes = st.lists(
    st.builds(ExtendedAttribute, st.one_of(tricky, st.text(max_size=5)), st.binary(max_size=9)), max_size=3
)
contents = st.integers(0, 3).map(lambda count: bytes(range(count * ID_SIZE)))


def node_of(entry: Entry, found: tuple[ExtendedAttribute, ...], content: bytes, target: str) -> Node:
    """As the slow encoder takes it."""
    kind = TYPES[stat.S_IFMT(entry.mode)]
    return Node(
        entry.name,
        type=kind,
        mode=go_mode(entry.mode),
        mtime=Timestamp(entry.mtime_ns),
        atime=Timestamp(entry.mtime_ns),
        ctime=Timestamp(entry.ctime_ns),
        uid=entry.uid,
        gid=entry.gid,
        inode=entry.inode,
        device_id=entry.device,
        size=entry.size if kind == "file" else 0,
        links=entry.links if kind in COUNT_LINKS else 0,
        linktarget=target if kind == "symlink" else "",
        extended_attributes=found,
        device=entry.rdev if kind in {"dev", "chardev"} else 0,
        content=content if kind == "file" else b"",
        subtree=b"\7" * ID_SIZE if kind == "dir" else None,
    )


def text_of(entry: Entry, found: tuple[ExtendedAttribute, ...], content: bytes, target: str) -> str:
    head = nodes.NodeEncoder().head(entry, nodes.encode_name(entry.name))
    kind = TYPES[stat.S_IFMT(entry.mode)]
    if kind == "file":
        return head + nodes.tail_of_file(found, content)
    if kind == "dir":
        return head + nodes.tail_of_directory(found, b"\7" * ID_SIZE)
    if kind == "symlink":
        return head + nodes.tail_of_link(found, target)
    return head + nodes.tail_of_other(found, entry.rdev if kind in {"dev", "chardev"} else 0)


trees = st.lists(st.tuples(entries, attributes.map(tuple), contents, names), max_size=4, unique_by=lambda e: e[0].name)


@given(trees)
def test_the_text_is_what_the_encoder_writes(
    told: list[tuple[Entry, tuple[ExtendedAttribute, ...], bytes, str]],
) -> None:
    ordered = sorted(told, key=lambda one: one[0].name.encode("utf-8", "surrogateescape"))
    blob = nodes.join_tree(text_of(*one) for one in ordered)
    assert blob == encode_tree(node_of(*one) for one in ordered)
    assert nodes.split_tree(blob) == {nodes.encode_name(one[0].name): text_of(*one) for one in ordered}


@given(entries, attributes.map(tuple), contents, names)
def test_content_and_subtree_are_found_again(
    entry: Entry, found: tuple[ExtendedAttribute, ...], content: bytes, target: str
) -> None:
    text = text_of(entry, found, content, target)
    kind = TYPES[stat.S_IFMT(entry.mode)]
    assert nodes.content_of(text) == (content if kind == "file" else None)
    assert nodes.subtree_of(text) == (b"\7" * ID_SIZE if kind == "dir" else None)
    if kind == "dir":
        other = nodes.with_subtree(text, b"\1" * ID_SIZE)
        assert nodes.subtree_of(other) == b"\1" * ID_SIZE
        assert nodes.with_subtree(other, b"\7" * ID_SIZE) == text


@given(st.binary(max_size=60))
def test_what_is_no_tree_of_ours_is_not_taken_apart(junk: bytes) -> None:
    assert nodes.split_tree(junk) is None
    inside = b'{"nodes":[' + junk + b"]}\n"
    found = nodes.split_tree(inside)
    assert found is None or not junk or all(node.startswith('{"name":') for node in found.values())
