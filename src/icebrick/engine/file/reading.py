"""What threads besides the walk do: read what is new or changed, and save it."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Sequence
from functools import partial

from icebrick.engine.file import nodes
from icebrick.engine.file.base import Directory, FileContent, check_numbers
from icebrick.engine.file.chunks import CHUNK_SIZE, STRIPE, CutFile, Zeros
from icebrick.engine.file.pending import Item, Ledger
from icebrick.errors import FileSystemError
from icebrick.parallel import Slot, Workers
from icebrick.progress import Task
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.tree import ExtendedAttribute

BATCH_FILES = 64
BATCH_BYTES = STRIPE * CHUNK_SIZE
"""A larger file is no part of a batch: several threads may work at it."""
_LONG_LIST = 1 << 16
_TEXT_OF_ID = 67

Work = Callable[[Slot], None]


class Readers:
    """Takes items one by one from the walk, and has them read by `workers`: small ones many at a time."""

    def __init__(self, ledger: Ledger, writer: BlobWriter, workers: Workers[Work], task: Task) -> None:
        self._ledger, self._writer, self._workers, self._task = ledger, writer, workers, task
        self._encoder = nodes.NodeEncoder()
        self._zeros = Zeros(writer)
        self._batch: list[Item] = []
        self._bytes = 0

    def put(self, item: Item) -> None:
        """Have an entry that is no directory read."""
        try:
            check_numbers(item.entry)
        except FileSystemError as error:
            self._give_up(item, error)
            return
        size = item.entry.size if stat.S_ISREG(item.entry.mode) else 0
        if size > BATCH_BYTES:
            self._put_large(item)
            return
        self._bytes += size
        self._batch.append(item)
        if len(self._batch) >= BATCH_FILES or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand on what was put and waits for company."""
        if self._batch:
            self._workers.put(partial(self._read_batch, self._batch))
            self._batch, self._bytes = [], 0

    def _put_large(self, item: Item) -> None:
        """Hand on the file, part by part, until one of those who read it has come to its end."""
        try:
            content = item.within.directory.open_file(item.entry.name)
        except FileSystemError as error:
            self._give_up(item, error)
            return
        self._ledger.opened(content)
        large = _LargeFile(item, content, self._cut(item, content))
        while large.begin_part():
            self._workers.put(partial(self._read_part, large))
        self._end_part(large)

    def _read_part(self, large: _LargeFile, slot: Slot) -> None:
        try:
            self._advance(large.cut.save(slot.memory(large.cut.chunk), STRIPE))
        except FileSystemError as error:
            large.problem = error
        self._end_part(large)

    def _end_part(self, large: _LargeFile) -> None:
        if not large.end_part():
            return
        self._ledger.close(large.content)
        try:
            large.check()
            self._settle_file(large.item, large.cut)
        except FileSystemError as error:
            self._give_up(large.item, error)

    def _read_batch(self, batch: Sequence[Item], slot: Slot) -> None:
        buffer = slot.memory(CHUNK_SIZE)
        self._advance(sum(self._read(item, buffer) for item in batch))

    def _read(self, item: Item, buffer: memoryview) -> int:
        """Settle a small item; bytes read."""
        form = stat.S_IFMT(item.entry.mode)
        try:
            if form == stat.S_IFREG:
                return self._read_file(item, buffer)
            attributes = self._attributes(item)
            if form == stat.S_IFLNK:
                tail = nodes.tail_of_link(attributes, item.within.directory.link_target(item.entry.name))
            else:
                tail = nodes.tail_of_other(attributes, item.entry.rdev)
        except FileSystemError as error:
            self._give_up(item, error)
        else:
            self._ledger.count(others=1)
            self._ledger.settle(item, item.head + tail)
        return 0

    def _read_file(self, item: Item, buffer: memoryview) -> int:
        with item.within.directory.open_file(item.entry.name) as content:
            cut = self._cut(item, content)
            total = cut.save(buffer, STRIPE)
        self._settle_file(item, cut)
        return total

    def _cut(self, item: Item, content: FileContent) -> CutFile:
        # the size that was listed, not what the file has grown to: so nobody can keep this going for ever
        return CutFile(content, item.entry.size, self._writer, self._zeros)

    def _settle_file(self, item: Item, cut: CutFile) -> None:
        ids = cut.ids
        if len(ids) > _LONG_LIST:
            self._ledger.hold(item.within, len(ids) // ID_SIZE * _TEXT_OF_ID)
        head = item.head
        if cut.size != item.entry.size:
            head = self._encoder.head(item.entry._replace(size=cut.size), nodes.encode_name(item.entry.name))
        kind = "files_changed" if item.before else "files_new"
        self._ledger.count(**{kind: 1, "bytes_total": cut.size})
        self._ledger.settle(item, head + nodes.tail_of_file(self._attributes(item), ids))

    def _attributes(self, item: Item) -> Sequence[ExtendedAttribute]:
        return read_attributes(self._ledger, item.within.directory, item.path, item.entry.name)

    def _give_up(self, item: Item, error: FileSystemError) -> None:
        self._ledger.note(item.path, error)
        self._ledger.settle(item, None)

    def _advance(self, size: int) -> None:
        self._ledger.count(bytes_read=size)
        self._task.advance(size)


def read_attributes(ledger: Ledger, directory: Directory, path: str, name: str = "") -> Sequence[ExtendedAttribute]:
    """Those of an entry, or of the directory itself; a failure is noted, and costs only them."""
    try:
        return directory.attributes(name)
    except FileSystemError as error:
        ledger.note(path, error)
        return ()


class _LargeFile:
    """A file that several threads read at once. Who ends the last part settles it; one part is the walk's own."""

    def __init__(self, item: Item, content: FileContent, cut: CutFile) -> None:
        self.item, self.content, self.cut = item, content, cut
        self.problem: FileSystemError | None = None
        self._parts = 1
        self._lock = threading.Lock()  # guards _parts

    def begin_part(self) -> bool:
        """Whether there may be more to read."""
        if self.cut.ended or self.problem is not None:
            return False
        with self._lock:
            self._parts += 1
        return True

    def end_part(self) -> bool:
        """Whether it was the last."""
        with self._lock:
            self._parts -= 1
            return not self._parts

    def check(self) -> None:
        """FileSystemError when reading a part of it failed."""
        if self.problem is not None:
            raise self.problem
