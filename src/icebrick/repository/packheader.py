"""The header of a stored pack, read without the rest of it."""

from __future__ import annotations

from icebrick.backend.base import FileType, Handle
from icebrick.errors import CorruptDataError
from icebrick.repository.blob import PackedBlob
from icebrick.repository.pack import decode_trailer, trailer_length
from icebrick.repository.repository import Repository

_GUESS = 16 << 10


def load_header(repository: Repository, pack_id: bytes, size: int) -> list[PackedBlob]:
    """The blobs of a pack of `size` bytes; CorruptDataError when its header is damaged or does not fit it."""
    handle = Handle(FileType.PACK, pack_id.hex())
    length = min(size, _GUESS)
    end = repository.backend.load(handle, offset=size - length, length=length)
    trailer = trailer_length(end[-4:], size)
    if trailer > length:
        end = repository.backend.load(handle, offset=size - trailer, length=trailer)
    blobs = decode_trailer(repository.key, end[-trailer:])
    if (blobs[-1].end if blobs else 0) != size - trailer:
        raise CorruptDataError(f"{handle} is damaged: its blobs do not fill it up to its header")
    return blobs
