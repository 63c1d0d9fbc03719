"""What is still whole in damaged packs is stored anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from icebrick.backend.base import FileType, Handle
from icebrick.errors import CorruptDataError
from icebrick.repository.blob import BlobDecoder, PackedBlob
from icebrick.repository.blobwriter import open_writer
from icebrick.repository.check.packs import MAX_PACK_SIZE
from icebrick.repository.check.report import DAMAGE
from icebrick.repository.ids import BlobType
from icebrick.repository.index.rewrite import EntriesOfPack
from icebrick.repository.pack import decode_trailer, trailer_length
from icebrick.repository.packwriter import PackWriter
from icebrick.repository.repository import Repository

BlobKey = tuple[BlobType, bytes]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Of each pack, which blobs were whole, and which ones were known and are not."""

    whole: Mapping[bytes, frozenset[BlobKey]]
    damaged: Mapping[bytes, frozenset[BlobKey]]

    @property
    def blobs(self) -> int:
        return sum(map(len, self.whole.values()))

    @property
    def lost(self) -> frozenset[BlobKey]:
        """Damaged in all of these packs."""
        return frozenset[BlobKey]().union(*self.damaged.values()).difference(*self.whole.values())

    def of(self, pack_id: bytes) -> str:
        """For people."""
        return (
            f"{len(self.whole[pack_id])} blobs of it were saved, {len(self.damaged[pack_id])} are known to be damaged"
        )


def salvage(
    repository: Repository, packs: Iterable[bytes], remembered: Mapping[bytes, Sequence[EntriesOfPack]]
) -> Salvaged:
    """Durable and in the index on return. What is in each pack is told by its header, and what is `remembered`.

    A blob that is somewhere else too is stored once more: a prune removes what is too many.
    """
    whole: dict[bytes, frozenset[BlobKey]] = {}
    damaged: dict[bytes, frozenset[BlobKey]] = {}
    decoder = BlobDecoder(repository.key)
    writing = PackWriter(repository.backend, repository.key, lambda *_: False, lambda *_: None)
    with writing.open(), open_writer(writing) as writer:
        for pack_id in packs:
            content = memoryview(_load(repository, Handle(FileType.PACK, pack_id.hex())))
            known = {blob for _, blobs in remembered.get(pack_id, ()) for blob in blobs}
            known.update(_header(repository, content))
            saved: set[BlobKey] = set()
            for blob in sorted(known, key=lambda blob: blob.offset):
                if (blob.type, blob.id) not in saved:
                    with suppress(CorruptDataError):
                        writer.save(blob.type, decoder.decode(blob, content[blob.offset : blob.end]))
                        saved.add((blob.type, blob.id))
            whole[pack_id] = frozenset(saved)
            damaged[pack_id] = frozenset((blob.type, blob.id) for blob in known) - saved
    return Salvaged(whole, damaged)


def _load(repository: Repository, handle: Handle) -> bytes:
    """Nothing when it cannot be read."""
    with suppress(*DAMAGE):
        if repository.backend.stat(handle).size <= MAX_PACK_SIZE:
            return repository.backend.load(handle)
    return b""


def _header(repository: Repository, content: memoryview) -> Iterator[PackedBlob]:
    """What the pack says of itself; nothing when that is damaged."""
    with suppress(CorruptDataError):
        trailer = trailer_length(content[-4:], len(content))
        yield from decode_trailer(repository.key, content[-trailer:])
