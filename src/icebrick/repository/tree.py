"""Directories as restic stores them: a JSON list of nodes, sorted by the bytes of their names.

The list of a volume image's blocks is one node's content and may hold millions of ids, hence it is kept packed,
32 bytes each, and converted as a whole, never id by id.
"""

from __future__ import annotations

import binascii
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from icebrick.errors import CorruptDataError
from icebrick.repository import gojson
from icebrick.repository.gojson import JsonObject, JsonValue
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.timestamp import ZERO_TIME, Timestamp

MODE_DIR, MODE_SYMLINK, MODE_DEVICE, MODE_FIFO, MODE_SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
MODE_SETUID, MODE_SETGID, MODE_CHARACTER, MODE_STICKY = 1 << 23, 1 << 22, 1 << 21, 1 << 20
_KINDS = {
    stat.S_IFREG: 0,
    stat.S_IFDIR: MODE_DIR,
    stat.S_IFLNK: MODE_SYMLINK,
    stat.S_IFBLK: MODE_DEVICE,
    stat.S_IFCHR: MODE_DEVICE | MODE_CHARACTER,
    stat.S_IFIFO: MODE_FIFO,
    stat.S_IFSOCK: MODE_SOCKET,
}
_KINDS_BACK = {go: unix for unix, go in _KINDS.items()}
_SPECIAL = {stat.S_ISUID: MODE_SETUID, stat.S_ISGID: MODE_SETGID, stat.S_ISVTX: MODE_STICKY}

_ENTRY = 2 * ID_SIZE + 3  # one id in a list: two quotation marks, the digits, a comma
_AT_ONCE = 1 << 12  # so many ids of a long list are converted together
_LONG = 64 * _ENTRY  # lists from this size on are converted as a whole
_CONTENT = b'"content":['


@dataclass(frozen=True, slots=True)
class ExtendedAttribute:
    """An xattr: its name, and its value as bytes."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of a directory; names and link targets hold bytes that are not UTF-8 by surrogateescape.

    `type` is file, dir, symlink, dev, chardev, fifo or socket; `mode` has Go's bits (see `go_mode`); `size` is in
    bytes; `content` is a file's data blobs, in order, 32 bytes each; `subtree` is a directory's tree;
    `generic_attributes` is the JSON of what other systems store, kept as it was read.
    """

    name: str
    type: str = "file"
    mode: int = 0
    mtime: Timestamp = ZERO_TIME
    atime: Timestamp = ZERO_TIME
    ctime: Timestamp = ZERO_TIME
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    inode: int = 0
    device_id: int = 0
    size: int = 0
    links: int = 0
    linktarget: str = ""
    extended_attributes: tuple[ExtendedAttribute, ...] = ()
    generic_attributes: str = ""
    device: int = 0
    content: bytes = b""
    subtree: bytes | None = None
    error: str = ""


def go_mode(st_mode: int) -> int:
    """Go's os.FileMode for a st_mode; ValueError for a kind of file that restic does not know."""
    kind = _KINDS.get(stat.S_IFMT(st_mode))
    if kind is None:
        raise ValueError(f"unknown kind of file: mode {st_mode:#o}")
    return st_mode & 0o777 | kind | sum(go for unix, go in _SPECIAL.items() if st_mode & unix)


def st_mode(mode: int) -> int:
    """Undo `go_mode`; ValueError for a kind of file that Unix does not know."""
    kind = mode & (MODE_DIR | MODE_SYMLINK | MODE_DEVICE | MODE_FIFO | MODE_SOCKET | MODE_CHARACTER)
    if kind not in _KINDS_BACK:
        raise ValueError(f"unknown kind of file: mode {mode:#x}")
    return mode & 0o777 | _KINDS_BACK[kind] | sum(unix for unix, go in _SPECIAL.items() if mode & go)


def encode_tree(nodes: Iterable[Node]) -> bytearray:
    """The blob of a tree, sorted here; ValueError when two nodes have one name."""
    ordered = sorted(nodes, key=lambda node: os.fsencode(node.name))
    for node, following in itertools.pairwise(ordered):
        if node.name == following.name:
            raise ValueError(f"two nodes named {node.name!r}")
    tree = bytearray(b'{"nodes":[')
    for number, node in enumerate(ordered):
        if number:
            tree += b","
        for part in _encode_node(node):
            tree += part
    tree += b"]}\n"
    return tree


def _encode_node(node: Node) -> Iterator[bytes | memoryview]:
    yield gojson.encode(_head(node))[:-1]
    if node.extended_attributes:
        yield b',"extended_attributes":'
        yield gojson.encode(
            [{"name": item.name, "value": gojson.encode_bytes(item.value)} for item in node.extended_attributes]
        )
    if node.generic_attributes:
        yield b',"generic_attributes":'
        yield node.generic_attributes.encode()
    if node.device:
        yield b',"device":%d' % node.device
    yield b',"content":'
    yield from _encode_content(node)
    if node.subtree is not None:
        yield b',"subtree":"' + binascii.hexlify(node.subtree) + b'"'
    if node.error:
        yield b',"error":' + gojson.encode(node.error)
    yield b"}"


def _head(node: Node) -> dict[str, JsonValue]:
    """The fields up to the link target, in restic's order."""
    head: dict[str, JsonValue] = {"name": gojson.quote(node.name), "type": node.type}
    if node.mode:
        head["mode"] = node.mode
    head |= {"mtime": str(node.mtime), "atime": str(node.atime), "ctime": str(node.ctime)}
    head |= {"uid": node.uid, "gid": node.gid}
    for name in ("user", "group", "inode", "device_id", "size", "links", "linktarget"):
        if value := getattr(node, name):
            head[name] = value
    if not gojson.is_unicode(node.linktarget):
        head["linktarget_raw"] = gojson.encode_bytes(os.fsencode(node.linktarget))
    return head


def _encode_content(node: Node) -> Iterator[bytes | memoryview]:
    if len(node.content) % ID_SIZE:
        raise ValueError(f"content of {node.name!r} is not a row of ids")
    count = len(node.content) // ID_SIZE
    if not count:
        yield b"[]" if node.type == "file" else b"null"  # as restic: other nodes never had a list
        return
    for start in range(0, count, _AT_ONCE):
        ids = node.content[start * ID_SIZE : (start + _AT_ONCE) * ID_SIZE]
        entries = np.empty((len(ids) // ID_SIZE, _ENTRY), dtype=np.uint8)
        entries[:, 0] = ord(",")
        entries[0, 0] = ord(",") if start else ord("[")
        entries[:, 1] = entries[:, -1] = ord('"')
        entries[:, 2:-1] = np.frombuffer(binascii.hexlify(ids), dtype=np.uint8).reshape(-1, 2 * ID_SIZE)
        yield entries.reshape(-1).data
    yield b"]"


def decode_tree(data: bytes) -> list[Node]:
    """The nodes in their stored order; CorruptDataError when it is not a tree, or a name could lead elsewhere."""
    rest, contents = _take_out_long_contents(data)
    return [_decode_node(fields, contents) for fields in gojson.parse_object(rest).objects("nodes")]


def tree_references(data: bytes) -> tuple[bytes, bytes]:
    """The data blobs and the trees that its nodes need, packed; CorruptDataError when it is not a tree.

    Names and attributes are not looked at: whoever asks wants to keep what is needed, not to use it.
    """
    rest, contents = _take_out_long_contents(data)
    nodes = gojson.parse_object(rest).objects("nodes")
    subtrees = (node.id("subtree") for node in nodes)
    return b"".join(_decode_content(node, contents) for node in nodes), b"".join(filter(None, subtrees))


def _take_out_long_contents(data: bytes) -> tuple[bytes, list[bytes]]:
    """The JSON with each long content replaced by its place in the returned list.

    An unescaped `"content":[` cannot be inside a string, where its quotation marks would be escaped.
    """
    pieces: list[bytes] = []
    contents: list[bytes] = []
    copied = position = 0
    while (found := data.find(_CONTENT, position)) >= 0:
        start = found + len(_CONTENT)
        position = end = data.find(b"]", start)
        if end < 0:
            break
        if end - start >= _LONG and (packed := _pack_ids(memoryview(data)[start : end + 1])) is not None:
            pieces += [data[copied : start - 1], b"%d" % len(contents)]
            contents.append(packed)
            copied = end + 1
    return (b"".join([*pieces, data[copied:]]) if pieces else data), contents


def _pack_ids(text: memoryview) -> bytes | None:
    """The ids of a list up to and with its bracket, when it is written without any space, as Go does; else None."""
    if len(text) % _ENTRY:
        return None
    entries = np.frombuffer(text, dtype=np.uint8).reshape(-1, _ENTRY)
    quoted = (entries[:, 0] == ord('"')).all() and (entries[:, -2] == ord('"')).all()
    if not quoted or not (entries[:-1, -1] == ord(",")).all():
        return None
    try:
        return binascii.unhexlify(entries[:, 1:-2].tobytes())
    except ValueError:
        return None


def _decode_node(fields: JsonObject, contents: list[bytes]) -> Node:
    linktarget = os.fsdecode(fields.raw("linktarget_raw")) or fields.text("linktarget")
    generic = fields.fields.get("generic_attributes")
    return Node(
        name=_decode_name(fields.text("name")),
        type=fields.text("type"),
        mode=fields.unsigned("mode"),
        mtime=fields.time("mtime"),
        atime=fields.time("atime"),
        ctime=fields.time("ctime"),
        uid=fields.unsigned("uid"),
        gid=fields.unsigned("gid"),
        user=fields.text("user"),
        group=fields.text("group"),
        inode=fields.unsigned("inode"),
        device_id=fields.unsigned("device_id"),
        size=fields.unsigned("size"),
        links=fields.unsigned("links"),
        linktarget=linktarget,
        extended_attributes=tuple(
            ExtendedAttribute(item.text("name"), item.raw("value")) for item in fields.objects("extended_attributes")
        ),
        generic_attributes=gojson.encode(generic).decode() if isinstance(generic, dict) else "",
        device=fields.unsigned("device"),
        content=_decode_content(fields, contents),
        subtree=fields.id("subtree"),
        error=fields.text("error"),
    )


def _decode_name(quoted: str) -> str:
    try:
        name = gojson.unquote(quoted)
    except ValueError as error:
        raise CorruptDataError(f"node with a name that cannot be read: {quoted!r}") from error
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise CorruptDataError(f"node with the forbidden name {name!r}")
    return name


def _decode_content(fields: JsonObject, contents: list[bytes]) -> bytes:
    place = fields.fields.get("content")
    if type(place) is int and 0 <= place < len(contents):
        return contents[place]
    return fields.ids("content")
