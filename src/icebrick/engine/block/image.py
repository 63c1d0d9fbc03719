"""A volume's image as it lies in a snapshot: the content of `volume.raw`, and the fingerprints beside it."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field

import numpy as np

from icebrick.blockdev import Data
from icebrick.engine.block.fingerprint import FINGERPRINT_SIZE, Fingerprints, decode_fingerprints, encode_fingerprints
from icebrick.engine.block.zerolist import id_lines, narrowed, widened
from icebrick.errors import CorruptDataError
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE, BlobType
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import Node, decode_tree

log = logging.getLogger(__name__)

IMAGE_NAME = "volume.raw"
FINGERPRINTS_NAME = "volume.fingerprints"


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
    whole = hashlib.sha256(size.to_bytes(8, "little"))
    whole.update(content)
    return whole.hexdigest()


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
    ids = [node.content[i : i + ID_SIZE] for i in range(0, len(node.content), ID_SIZE)]
    try:
        length = sum(store.size(BlobType.DATA, blob_id) for blob_id in ids)
        return decode_fingerprints(length, (store.load(BlobType.DATA, blob_id) for blob_id in ids))
    except (CorruptDataError, ValueError) as error:
        log.warning("fingerprints not usable, reading everything: %s", error)
        return None


def block_ids(image: StoredImage) -> memoryview | None:
    """The id of each block, zero for blocks of zeros; None when the image is not made of blocks as ours are.

    Also None when the fingerprints call other blocks zeros than the content does.
    """
    if image.fingerprints is None:
        return None
    blocks = image.fingerprints.blocks
    if blocks.size != image.size:
        return None
    ids = narrowed(image.content, blocks)
    if ids is None:
        return None
    values = np.frombuffer(image.fingerprints.values, dtype=np.uint64).reshape(-1, FINGERPRINT_SIZE // 8)
    return ids if (values.any(axis=1) == id_lines(ids).any(axis=1)).all() else None


def save_image(
    writer: BlobWriter, ids: Data, fingerprints: Fingerprints, moment: Timestamp
) -> tuple[StoredImage, tuple[Node, ...]]:
    """Store what makes an image out of its blocks (`ids` as from `block_ids`): zeros, fingerprints; its two nodes."""
    blocks = fingerprints.blocks
    content = widened(writer, ids, blocks)
    stored = StoredImage(blocks.size, content, fingerprints)
    parts = [(writer.save(BlobType.DATA, part), len(part)) for part in encode_fingerprints(fingerprints)]
    image = _file(IMAGE_NAME, blocks.size, content, moment)
    beside = _file(FINGERPRINTS_NAME, sum(size for _, size in parts), b"".join(i for i, _ in parts), moment)
    return stored, (beside, image)


def _file(name: str, size: int, content: bytes, moment: Timestamp) -> Node:
    return Node(name, mode=0o600, mtime=moment, atime=moment, ctime=moment, size=size, links=1, content=content)
