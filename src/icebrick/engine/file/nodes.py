"""Nodes as text, made and compared by the hundred thousand: what `encode_tree` writes, without its objects.

The text of a node is its head, which `lstat` alone tells (name to number of links), and its tail: link target,
extended attributes, device, content, subtree. ctime is in the head; so where an earlier tree has a node with the same
head, its tail is right as well, except for a subtree.

Users and groups have no names here: those of the volume are not this host's.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence

from icebrick.blockdev import Data
from icebrick.engine.file.base import Entry
from icebrick.repository import gojson
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import ExtendedAttribute, go_mode

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFBLK: "dev",
    stat.S_IFCHR: "chardev",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_WITH_LINKS = frozenset({stat.S_IFREG, stat.S_IFLNK, stat.S_IFBLK, stat.S_IFCHR})
_PLAIN = re.compile(r"[ !#-%'-;=?-\[\]-~]*")  # what neither Go's Quote nor its JSON changes
_OPENING, _CLOSING = '{"nodes":[', "]}\n"
# an extended attribute has a name as well, but no type
_BOUNDARY = re.compile(r'(?<=\}),(?=\{"name":"(?:[^"\\]|\\.)*","type":")')
_NAME, _TYPE = '{"name":', ',"type":"'
_CONTENT, _SUBTREE, _SUBTREE_END = '"content":[', ',"subtree":"', '"}'
_TAILS = ('"content":', '"linktarget":', '"extended_attributes":', '"device":')
_TIMES_KEPT = 1 << 14


class NodeEncoder:
    """Makes heads of nodes; remembers what many have in common. May be used from any thread."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._times: dict[int, str] = {}

    def head(self, entry: Entry, name: str) -> str:
        """Up to the comma behind the last field that `lstat` tells; `name` is the entry's as a JSON string."""
        _, mode, uid, gid, mtime_ns, ctime_ns, inode, device, links, size, _ = entry
        kind = self._kinds.get(mode) or self._kind(mode)
        mtime = self._times.get(mtime_ns) or self._time(mtime_ns)
        ctime = self._times.get(ctime_ns) or self._time(ctime_ns)
        # as restic by default: atime is never right on a copy, and would make every tree a new one
        head = (
            f'{_NAME}{name}{kind}"mtime":"{mtime}","atime":"{mtime}","ctime":"{ctime}",'
            f'"uid":{uid},"gid":{gid},"inode":{inode},'
        )
        if not inode:
            head = head.removesuffix('"inode":0,')
        if device:
            head += f'"device_id":{device},'
        form = stat.S_IFMT(mode)
        if size and form == stat.S_IFREG:
            head += f'"size":{size},'
        if links and form in _WITH_LINKS:
            head += f'"links":{links},'
        return head

    def _kind(self, mode: int) -> str:
        bits = go_mode(mode)
        kind = self._kinds[mode] = f'{_TYPE}{_TYPES[stat.S_IFMT(mode)]}",' + (f'"mode":{bits},' if bits else "")
        return kind

    def _time(self, ns: int) -> str:
        if len(self._times) >= _TIMES_KEPT:
            self._times.clear()
        text = self._times[ns] = str(Timestamp(ns))
        return text


def encode_name(name: str) -> str:
    """As a JSON string."""
    if _PLAIN.fullmatch(name):
        return f'"{name}"'
    return gojson.encode(gojson.quote(name)).decode()


def has_head(node: str, head: str) -> bool:
    """Whether the node is one with exactly this head."""
    return node.startswith(head) and node.startswith(_TAILS, len(head))


def tail_of_file(attributes: Sequence[ExtendedAttribute], content: bytes) -> str:
    """`content` is the ids of its blobs, 32 bytes each."""
    ids = content.hex(",", ID_SIZE).replace(",", '","')
    return _attributes(attributes) + _CONTENT + (f'"{ids}"]}}' if content else "]}")


def tail_of_directory(attributes: Sequence[ExtendedAttribute], subtree: bytes) -> str:
    """`subtree` is the id of its tree."""
    return f'{_attributes(attributes)}"content":null{_SUBTREE}{subtree.hex()}{_SUBTREE_END}'


def tail_of_link(attributes: Sequence[ExtendedAttribute], target: str) -> str:
    """`target` is where the symbolic link points to."""
    raw = "" if gojson.is_unicode(target) else f'"linktarget_raw":"{gojson.encode_bytes(os.fsencode(target))}",'
    return f'"linktarget":{gojson.encode(target).decode()},{raw}{_attributes(attributes)}"content":null}}'


def tail_of_other(attributes: Sequence[ExtendedAttribute], device: int) -> str:
    """`device` is the number of a device; 0 for a fifo or a socket."""
    return _attributes(attributes) + (f'"device":{device},' if device else "") + '"content":null}'


def _attributes(attributes: Sequence[ExtendedAttribute]) -> str:
    if not attributes:
        return ""
    values = [{"name": item.name, "value": gojson.encode_bytes(item.value)} for item in attributes]
    return f'"extended_attributes":{gojson.encode(values).decode()},'


def join_tree(nodes: Iterable[str]) -> bytearray:
    """The blob of a tree, from its nodes in order."""
    tree = bytearray(_OPENING.encode())
    for number, node in enumerate(nodes):  # not all at once: large folders would take three times the memory
        if number:
            tree += b","
        tree += node.encode()
    tree += _CLOSING.encode()
    return tree


def split_tree(blob: Data) -> dict[str, str] | None:
    """The nodes by their names (as JSON strings), in order; None when the tree was not written as ours are."""
    try:
        text = str(blob, "utf-8")
    except UnicodeDecodeError:
        return None
    if not (text.startswith(_OPENING) and text.endswith(_CLOSING)):
        return None
    text = text[len(_OPENING) : -len(_CLOSING)]
    nodes: dict[str, str] = {}
    for node in _split(text) if text else ():
        name, found, _ = node[len(_NAME) :].partition(_TYPE)
        if not (found and node.startswith(_NAME)):
            return None
        nodes[name] = node
    return nodes


def _split(text: str) -> list[str]:
    """At the commas between nodes. In strings quotation marks are escaped, so what has one is none of them."""
    if '"extended_attributes":' in text or '"generic_attributes":' in text:
        return _BOUNDARY.split(text)  # there are names in nodes, too
    nodes = text.split('},{"name":')
    nodes[1:] = [_NAME + node for node in nodes[1:]]
    nodes[:-1] = [node + "}" for node in nodes[:-1]]
    return nodes


def content_of(node: str) -> bytes | None:
    """The ids of a file's blobs; None when it has no such list."""
    _, found, listed = node.rpartition(_CONTENT)
    if not (found and listed.endswith("]}")):
        return None
    ids = listed[1:-3]
    try:
        content = bytes.fromhex(ids if len(ids) == 2 * ID_SIZE else ids.replace('","', ""))
    except ValueError:
        return None
    return content if len(content) % ID_SIZE == 0 else None


def subtree_of(node: str) -> bytes | None:
    """The id of a directory's tree; None when it has none."""
    _, found, subtree = node.rpartition(_SUBTREE)
    try:
        return bytes.fromhex(subtree.removesuffix(_SUBTREE_END)) if found else None
    except ValueError:
        return None


def with_subtree(node: str, subtree: bytes) -> str:
    """A directory's node, having another tree now."""
    return f"{node.rpartition(_SUBTREE)[0]}{_SUBTREE}{subtree.hex()}{_SUBTREE_END}"
