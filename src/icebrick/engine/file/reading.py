"""What is new or changed is read and saved; each thread does a share that is worth the handing over."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import groupby

from icebrick.engine.file import nodes
from icebrick.engine.file.base import FileContent, check_numbers
from icebrick.engine.file.chunks import CHUNK_SIZE, STRIPE, CutFile, Zeros, save_small
from icebrick.engine.file.pending import FilesStats, Item, Ledger
from icebrick.errors import FileSystemError
from icebrick.parallel import Slot, Slots, Workers
from icebrick.progress import Task
from icebrick.repository.blobwriter import BlobWriter
from icebrick.repository.ids import ID_SIZE
from icebrick.repository.tree import ExtendedAttribute

SMALL_FILE = 32 << 10
"""Up to here what a file costs is mostly the interpreter's, which one thread at a time can use."""
BATCH_FILES = 64
BATCH_BYTES = STRIPE * CHUNK_SIZE
"""A larger file is no part of a batch: several threads may work at it."""
_LONG_LIST = 1 << 16
_TEXT_OF_ID = 67

Attributes = Sequence[ExtendedAttribute]
Work = Callable[[Slot], None]


class Readers:
    """Takes items one by one from the walk: small files are read by the walk's own thread, others by `workers`."""

    def __init__(self, ledger: Ledger, writer: BlobWriter, slots: Slots, workers: Workers[Work], task: Task) -> None:
        self._ledger, self._slots, self._workers = ledger, slots, workers
        self._reader = _Reader(ledger, writer, task)
        self._small: list[Item] = []
        self._medium: list[Item] = []
        self._medium_bytes = 0

    def put(self, item: Item) -> None:
        """Have an entry that is no directory read."""
        try:
            check_numbers(item.entry)
        except FileSystemError as error:
            self._ledger.give_up(item, error)
            return
        size = item.entry.size if stat.S_ISREG(item.entry.mode) else 0
        if size > BATCH_BYTES:
            self._put_large(item)
        elif size > SMALL_FILE:
            self._put_medium(item)
        else:
            self._small.append(item)
            if len(self._small) >= BATCH_FILES:
                self._read_small()

    def flush(self) -> None:
        """See to all that was put and waits for company."""
        self._hand_on_medium()
        self._read_small()

    def _read_small(self) -> None:
        batch, self._small = self._small, []
        if batch:
            with self._slots.take() as slot:
                self._reader.read_batch(batch, slot)

    def _put_medium(self, item: Item) -> None:
        self._medium.append(item)
        self._medium_bytes += item.entry.size
        if self._medium_bytes >= BATCH_BYTES:
            self._hand_on_medium()

    def _hand_on_medium(self) -> None:
        batch, self._medium, self._medium_bytes = self._medium, [], 0
        if batch:
            self._workers.put(partial(self._reader.read_batch, batch))

    def _put_large(self, item: Item) -> None:
        """Hand on the file, part by part, until one of those who read it has come to its end."""
        try:
            large = self._reader.open_large(item)
        except FileSystemError as error:
            self._ledger.give_up(item, error)
            return
        while large.begin_part():
            self._workers.put(partial(self._reader.read_part, large))
        self._reader.end_part(large)


class _Reader:
    """May be used from any thread."""

    def __init__(self, ledger: Ledger, writer: BlobWriter, task: Task) -> None:
        self._ledger, self._writer, self._task = ledger, writer, task
        self._encoder = nodes.NodeEncoder()
        self._zeros = Zeros(writer)

    def read_batch(self, batch: Sequence[Item], slot: Slot) -> None:
        """Settle each of the items."""
        buffer = slot.memory(CHUNK_SIZE)
        stats = FilesStats()
        with ExitStack() as opened:
            # all at once: what is not in memory yet is on its way then, before the first is waited for
            for item, content in list(self._open(batch, opened)):
                try:
                    if content is None:
                        self._settle_other(item)
                    else:
                        self._read(item, content, buffer, stats)
                except FileSystemError as error:
                    self._ledger.give_up(item, error)
        self._ledger.add(stats)
        self._task.advance(stats.bytes_read)

    def _open(self, batch: Sequence[Item], opened: ExitStack) -> Iterator[tuple[Item, FileContent | None]]:
        """The items, regular files with their content; less those that cannot be opened."""
        for directory, items in groupby(batch, lambda item: item.within.directory):
            directory.expect([item.entry for item in items if stat.S_ISREG(item.entry.mode)])
        for item in batch:
            content = None
            if stat.S_ISREG(item.entry.mode):
                try:
                    content = opened.enter_context(item.within.directory.open_file(item.entry.name))
                except FileSystemError as error:
                    self._ledger.give_up(item, error)
                    continue
            yield item, content

    def _read(self, item: Item, content: FileContent, buffer: memoryview, stats: FilesStats) -> None:
        attributes = read_attributes(self._ledger, item.path, content.attributes)
        if item.entry.size <= CHUNK_SIZE:
            ids, size = save_small(content, item.entry.size, self._writer, buffer)
        else:
            cut = self._cut(item, content)
            cut.save(buffer, STRIPE)
            ids, size = cut.ids, cut.size
        stats.bytes_read += size
        self._settle_file(item, ids, size, attributes, stats)

    def _settle_other(self, item: Item) -> None:
        directory, entry = item.within.directory, item.entry
        attributes = read_attributes(self._ledger, item.path, partial(directory.attributes, entry.name))
        if stat.S_ISLNK(entry.mode):
            tail = nodes.tail_of_link(attributes, directory.link_target(entry.name))
        else:
            is_device = stat.S_ISBLK(entry.mode) or stat.S_ISCHR(entry.mode)
            tail = nodes.tail_of_other(attributes, entry.rdev if is_device else 0)
        self._ledger.add(FilesStats(others=1))
        self._ledger.settle(item, item.head + tail)

    def _cut(self, item: Item, content: FileContent) -> CutFile:
        # the size that was listed, not what the file has grown to: so nobody can keep this going for ever
        return CutFile(content, item.entry.size, self._writer, self._zeros)

    def open_large(self, item: Item) -> _LargeFile:
        """Ready for its parts to be read."""
        content = item.within.directory.open_file(item.entry.name)
        self._ledger.opened(content)
        return _LargeFile(item, content, self._cut(item, content))

    def read_part(self, large: _LargeFile, slot: Slot) -> None:
        """Save some chunks of the file."""
        try:
            size = large.cut.save(slot.memory(large.cut.chunk), STRIPE)
            self._ledger.add(FilesStats(bytes_read=size))
            self._task.advance(size)
        except FileSystemError as error:
            large.problem = error
        self.end_part(large)

    def end_part(self, large: _LargeFile) -> None:
        """Settle the file if this was the last."""
        if not large.end_part():
            return
        stats = FilesStats()
        attributes = read_attributes(self._ledger, large.item.path, large.content.attributes)
        self._ledger.close(large.content)
        try:
            large.check()
            self._settle_file(large.item, large.cut.ids, large.cut.size, attributes, stats)
        except FileSystemError as error:
            self._ledger.give_up(large.item, error)
        self._ledger.add(stats)

    def _settle_file(self, item: Item, ids: bytes, size: int, attributes: Attributes, stats: FilesStats) -> None:
        if len(ids) > _LONG_LIST:
            self._ledger.hold(item.within, len(ids) // ID_SIZE * _TEXT_OF_ID)
        head = item.head
        if size != item.entry.size:
            head = self._encoder.head(item.entry._replace(size=size), nodes.encode_name(item.entry.name))
        stats.files_new += item.before is None
        stats.files_changed += item.before is not None
        stats.bytes_total += size
        self._ledger.settle(item, head + nodes.tail_of_file(attributes, ids))


def read_attributes(ledger: Ledger, path: str, read: Callable[[], Attributes]) -> Attributes:
    """What `read` returns; its failure is noted, and costs only the attributes."""
    try:
        return read()
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
