"""A volume's image as it lies in a snapshot: the content of `volume.raw`, and the fingerprints beside it."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from icebrick.engine.block.blocks import Blocks
from icebrick.engine.block.fingerprint import FINGERPRINT_SIZE, Fingerprints, decode_fingerprints, encode_fingerprints
from icebrick.engine.block.zeros import SPARSE_ZERO, zero_id
from icebrick.errors import CorruptDataError
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node, decode_tree

log = logging.getLogger(__name__)

IMAGE_NAME = "volume.raw"
FINGERPRINTS_NAME = "volume.fingerprints"
ZERO_BLOCK = bytes(ID_SIZE)
"""Stands for a block of zeros in a list of block ids."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What is needed to read an image: its size in bytes, its blobs in order (32 bytes each)."""

    size: int
    content: bytes = field(repr=False)
    fingerprints: Fingerprints | None = None

    @property
    def digest(self) -> str:
        """Of the whole content: hex SHA-256 of the size (uint64, little endian) and all blobs' ids in order."""
        return image_digest(self.size, self.content)


def image_digest(size: int, content: bytes) -> str:
    """See `StoredImage.digest`."""
    return hashlib.sha256(size.to_bytes(8, "little") + content).hexdigest()


def find_image(store: BlobStore, tree: bytes) -> StoredImage | None:
    """The image in the snapshot with this tree; None when it holds none. CorruptDataError."""
    nodes = {node.name: node for node in decode_tree(store.load(BlobType.TREE, tree))}
    image = nodes.get(IMAGE_NAME)
    if image is None or image.type != "file":
        return None
    return StoredImage(image.size, image.content, _load_fingerprints(store, nodes.get(FINGERPRINTS_NAME)))


def _load_fingerprints(store: BlobStore, node: Node | None) -> Fingerprints | None:
    """None when there are none, or none that can be used: they only save work."""
    if node is None or node.type != "file":
        return None
    ids = (node.content[i : i + ID_SIZE] for i in range(0, len(node.content), ID_SIZE))
    try:
        return decode_fingerprints(b"".join(store.load(BlobType.DATA, blob_id) for blob_id in ids))
    except (CorruptDataError, ValueError) as error:
        log.warning("fingerprints not usable, reading everything: %s", error)
        return None


def block_ids(image: StoredImage) -> bytes | None:
    """The id of each block, zero for blocks of zeros; None when the image is not made of blocks as ours are.

    Also None when the fingerprints call other blocks zeros than the content does.
    """
    if image.fingerprints is None:
        return None
    blocks = image.fingerprints.blocks
    if blocks.size != image.size:
        return None
    ids = _join_sparse_zero(image.content, blocks)
    if len(ids) != blocks.count * ID_SIZE:
        return None
    lines = id_lines(ids).copy()
    values = np.frombuffer(image.fingerprints.values, dtype=np.uint8).reshape(-1, FINGERPRINT_SIZE)
    zeros = ~values.any(axis=1)
    if (zeros != _named_zeros(lines, blocks)).any():
        return None
    lines[zeros] = 0
    return lines.tobytes()


def id_lines(ids: bytes | bytearray) -> Array:
    """Packed ids as a table of one id a line, in four numbers each; shares the memory of `ids`."""
    return np.frombuffer(ids, dtype=np.uint64).reshape(-1, ID_SIZE // 8)


def lines_with(lines: Array, blob_id: bytes) -> Array:
    """Which lines are this id."""
    mask: Array = (lines == id_lines(blob_id)).all(axis=1)
    return mask


def _named_zeros(lines: Array, blocks: Blocks) -> Array:
    """Which lines are the ids of blocks of zeros."""
    mask = lines_with(lines, ZERO_BLOCK)
    for length in {blocks.block_size, blocks.length(blocks.count - 1)}:
        mask |= lines_with(lines, zero_id(length))
    return mask


def _join_sparse_zero(content: bytes, blocks: Blocks) -> bytes:
    run = zero_id(SPARSE_ZERO) * _sparse_parts(blocks)
    if not run:
        return content
    start = _find_id(content, run)
    return content if start < 0 else content[:start] + ZERO_BLOCK + content[start + len(run) :]


def _sparse_parts(blocks: Blocks) -> int:
    """How many of restic's units of zeros make a block; 0 when it is not made of several whole ones."""
    parts, rest = divmod(blocks.block_size, SPARSE_ZERO)
    return 0 if rest or parts < 2 else parts


def _find_id(content: bytes, wanted: bytes) -> int:
    start = content.find(wanted)
    while start >= 0 and start % ID_SIZE:
        start = content.find(wanted, start + 1)
    return start


def save_image(
    writer: BlobWriter, ids: bytearray, fingerprints: Fingerprints, moment: Timestamp
) -> tuple[StoredImage, tuple[Node, ...]]:
    """Store what makes an image out of its blocks (`ids` as from `block_ids`): zeros, fingerprints; its two nodes."""
    blocks = fingerprints.blocks
    content = _with_zeros(writer, ids, blocks)
    stored = StoredImage(blocks.size, content, fingerprints)
    parts = [(writer.save(BlobType.DATA, part), len(part)) for part in encode_fingerprints(fingerprints)]
    image = _file(IMAGE_NAME, blocks.size, content, moment)
    beside = _file(FINGERPRINTS_NAME, sum(size for _, size in parts), b"".join(i for i, _ in parts), moment)
    return stored, (beside, image)


def _with_zeros(writer: BlobWriter, ids: bytearray, blocks: Blocks) -> bytes:
    """The content list: zeros by their real ids, the first block of them in restic's own unit."""
    lines = id_lines(ids).copy()
    zeros = np.flatnonzero(lines_with(lines, ZERO_BLOCK))
    if not len(zeros):
        return lines.tobytes()
    last = blocks.count - 1
    for number in {int(zeros[0]), int(zeros[-1])}:  # all but the last block have one length
        blob_id = writer.save(BlobType.DATA, bytes(blocks.length(number)))
        lines[zeros[zeros != last] if number != last else [last]] = id_lines(blob_id)
    first = int(zeros[0])
    if blocks.length(first) != blocks.block_size or not _sparse_parts(blocks):
        return lines.tobytes()
    run = writer.save(BlobType.DATA, bytes(SPARSE_ZERO)) * _sparse_parts(blocks)
    return b"".join([lines[:first].data, run, lines[first + 1 :].data])


def _file(name: str, size: int, content: bytes, moment: Timestamp) -> Node:
    return Node(name, mode=0o600, mtime=moment, atime=moment, ctime=moment, size=size, links=1, content=content)
