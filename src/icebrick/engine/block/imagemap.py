"""Which bytes of a volume each blob of an image makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icebrick.blockdev import Extent
from icebrick.engine.block.blocks import BLOCK_SIZE, Mask, Range
from icebrick.engine.block.image import StoredImage
from icebrick.engine.block.zerolist import id_lines, lines_with
from icebrick.engine.block.zeros import SPARSE_ZERO, zero_id
from icebrick.errors import CorruptDataError
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.index.index import Places

_MANY_SIZES = 16  # with more sizes than that the image was cut by content; then only restic's own zeros are looked for


@dataclass(frozen=True, slots=True)
class ImageMap:
    """The pieces of an image, in order: piece i is blob i of the content. They cover the image without gaps."""

    image: StoredImage
    places: Places
    sizes: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    """In the volume, ascending."""
    zeros: Mask
    """The pieces known to be all zeros without being loaded."""

    @property
    def count(self) -> int:
        return len(self.sizes)

    @property
    def longest(self) -> int:
        """The most bytes that are looked at at once: the longest piece of data, or a block."""
        return int(self.sizes[~self.zeros].max(initial=self.block_size))

    @property
    def block_size(self) -> int:
        """In which a device is compared with zeros: one piece of zeros may stand for many blocks."""
        fingerprints = self.image.fingerprints
        return BLOCK_SIZE if fingerprints is None else fingerprints.blocks.block_size

    @property
    def blocks(self) -> npt.NDArray[np.int64]:
        """Of how many blocks each piece is."""
        return np.where(self.zeros, -(-self.sizes // self.block_size), 1)

    def extents(self, piece: int) -> Iterator[Extent]:
        """The piece's blocks: of zeros maybe many, else just one."""
        whole = self.extent(piece)
        step = self.block_size if self.zeros[piece] else whole.length
        for offset in range(whole.offset, whole.end, step):
            yield Extent(offset, min(step, whole.end - offset))

    def id_of(self, piece: int) -> bytes:
        return self.image.content[piece * ID_SIZE : (piece + 1) * ID_SIZE]

    def extent(self, piece: int) -> Extent:
        return Extent(int(self.offsets[piece]), int(self.sizes[piece]))

    def touched(self, extents: Iterable[Extent]) -> Mask:
        """The pieces of which the extents hold at least a byte."""
        mask = np.zeros(self.count, dtype=np.bool_)
        for extent in extents:
            first = np.searchsorted(self.offsets, extent.offset, side="right") - 1
            mask[first : np.searchsorted(self.offsets, extent.end)] = True
        return mask

    def windows(self, length: int) -> Iterator[Range]:
        """All pieces in order, in ranges of at most `length` bytes, but at least one piece."""
        ends = self.offsets + self.sizes
        first = 0
        while first < self.count:
            behind = max(first + 1, int(np.searchsorted(ends, self.offsets[first] + length, side="right")))
            yield first, behind
            first = behind


def map_image(image: StoredImage, store: BlobStore) -> ImageMap:
    """Look up all pieces; CorruptDataError when a blob is missing or the sizes do not add up."""
    places = store.places(image.content)
    sizes = places.sizes
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    if total != image.size:
        raise CorruptDataError(f"an image of {image.size} bytes has blobs of {total} bytes together")
    return ImageMap(image, places, sizes, ends - sizes, _zeros(image.content, sizes))


def _zeros(content: bytes, sizes: npt.NDArray[np.int64]) -> Mask:
    lines = id_lines(content)
    mask = np.zeros(len(lines), dtype=np.bool_)
    present = np.unique(sizes).tolist()
    for size in present if len(present) <= _MANY_SIZES else [SPARSE_ZERO]:
        mask |= lines_with(lines, zero_id(size))
    return mask
