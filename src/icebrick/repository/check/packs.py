"""Packs against the index: is what the index names there, as long as it must be, and what it should be?"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from icebrick.backend.base import FileType, Handle
from icebrick.errors import CorruptDataError
from icebrick.parallel import Pool, Workers
from icebrick.progress import Progress
from icebrick.repository.blob import BlobDecoder, PackedBlob
from icebrick.repository.check.report import DAMAGE, Findings
from icebrick.repository.check.subset import ALL, Subset
from icebrick.repository.crypto import Key
from icebrick.repository.ids import BlobType
from icebrick.repository.index.file import decode_index
from icebrick.repository.index.index import Index
from icebrick.repository.pack import pack_size, verify_pack
from icebrick.repository.repository import Repository
from icebrick.repository.unpacked import load_unpacked, load_verified

MAX_READERS = 8
"""Packs in memory at once."""
MAX_PACK_SIZE = 256 << 20
"""In bytes; restic makes packs of at most 128 MiB and one blob. What is longer is not read into memory."""

_BLOB = struct.Struct("<?III32s")


@dataclass(frozen=True, slots=True)
class IndexedPack:
    """What the index says of a pack: how many bytes it must have, and a digest of all its entries."""

    size: int
    entries: bytes


def describe_pack(blobs: Iterable[PackedBlob]) -> IndexedPack:
    """CorruptDataError when the blobs overlap or leave gaps, for then they are not one pack."""
    ordered = sorted(blobs, key=lambda blob: blob.offset)
    entries = hashlib.sha256()
    end = 0
    for blob in ordered:
        if blob.offset != end:
            raise CorruptDataError(
                f"blob {blob.id.hex()} is said to begin at {blob.offset}, the one before ends at {end}"
            )
        end = blob.end
        is_tree = blob.type is BlobType.TREE
        entries.update(_BLOB.pack(is_tree, blob.offset, blob.length, blob.uncompressed_length, blob.id))
    return IndexedPack(pack_size(ordered), entries.digest())


class PackCheck:
    """Reads the index itself, so that one damaged index file does not hide what the others say."""

    def __init__(self, repository: Repository, findings: Findings) -> None:
        self._repository = repository
        self._backend = repository.backend
        self._key: Key = repository.key
        self._findings = findings
        self._indexed: dict[bytes, IndexedPack] = {}
        self._stored: dict[bytes, int] = {}
        self.index = Index()
        self.index_files = 0
        self.bytes_read = 0
        self.packs_read = 0

    @property
    def packs(self) -> int:
        return len(self._stored)

    def read_index(self, progress: Progress) -> None:
        """Every index file that can be read."""
        files = [info.handle for info in self._backend.list_files(FileType.INDEX)]
        self.index_files = len(files)
        with progress.task("check index", total=len(files), unit="files") as task:
            for handle in files:
                self._read_index_file(handle)
                task.advance(1)

    def _read_index_file(self, handle: Handle) -> None:
        try:
            plain = load_unpacked(self._backend, self._key, handle)
        except DAMAGE as error:
            self._findings.problem(str(error))
            return
        try:
            for pack_id, blobs in decode_index(plain):
                self._add_indexed(handle, pack_id, blobs)
        except CorruptDataError as error:
            self._findings.problem(f"{handle}: {error}")

    def _add_indexed(self, index_file: Handle, pack_id: bytes, blobs: list[PackedBlob]) -> None:
        try:
            found = describe_pack(blobs)
        except CorruptDataError as error:
            self._findings.problem(f"{index_file}: pack {pack_id.hex()}: {error}")
            return
        known = self._indexed.setdefault(pack_id, found)
        if known is found:
            self.index.add_pack(pack_id, blobs)
        elif known == found:
            self._findings.hint(f"pack {pack_id.hex()} is in more than one index file")
        else:
            self._findings.problem(f"{index_file}: another index file says otherwise of pack {pack_id.hex()}")

    def compare_sizes(self) -> None:
        """List the packs after the index was read: those of a backup that runs now are only too many."""
        self._stored = {bytes.fromhex(info.handle.name): info.size for info in self._backend.list_files(FileType.PACK)}
        for pack_id, indexed in self._indexed.items():
            size = self._stored.get(pack_id)
            if size is None:
                self._findings.problem(f"{_handle(pack_id)} is missing")
            elif size != indexed.size:
                self._findings.problem(f"{_handle(pack_id)} has {size} bytes, by the index it must have {indexed.size}")
        for pack_id in self._stored.keys() - self._indexed.keys():
            self._findings.hint(f"pack {pack_id.hex()} is in no index")

    def read_packs(self, progress: Progress, subset: Subset = ALL) -> None:
        """Everything in every pack of the subset that is stored, in an index or not."""
        chosen = subset.choose(self._stored, random.SystemRandom())
        size = sum(self._stored[pack_id] for pack_id in chosen)
        decoders = Pool(lambda: BlobDecoder(self._key))
        with progress.task("read packs", total=size, unit="B") as task:

            def read(pack_id: bytes) -> None:
                with decoders.borrow() as decoder:
                    self._read_pack(pack_id, decoder)
                task.advance(self._stored[pack_id])

            with Workers(read, threads=min(self._backend.connections, MAX_READERS), name="check") as workers:
                for pack_id in chosen:
                    workers.put(pack_id)
        self.bytes_read, self.packs_read = size, len(chosen)

    def _read_pack(self, pack_id: bytes, decoder: BlobDecoder) -> None:
        indexed = self._indexed.get(pack_id)
        try:
            blobs = self._verified_blobs(pack_id, decoder)
            if indexed is not None and describe_pack(blobs) != indexed:
                raise CorruptDataError(f"{_handle(pack_id)}: its header lists other blobs than the index")
        except DAMAGE as error:
            # what no index names is needed by nobody: a backup that broke off may have left it
            report = self._findings.hint if indexed is None else self._findings.problem
            report(str(error))

    def _verified_blobs(self, pack_id: bytes, decoder: BlobDecoder) -> Sequence[PackedBlob]:
        """What the header of a pack lists, each blob proven; errors name the file."""
        handle, size = _handle(pack_id), self._stored[pack_id]
        if size > MAX_PACK_SIZE:
            raise CorruptDataError(f"{handle} has {size} bytes, more than any pack")
        pack = load_verified(self._backend, handle)
        try:
            return verify_pack(self._key, decoder, memoryview(pack))
        except CorruptDataError as error:
            raise CorruptDataError(f"{handle}: {error}") from error


def _handle(pack_id: bytes) -> Handle:
    return Handle(FileType.PACK, pack_id.hex())
