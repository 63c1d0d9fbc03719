"""A file system that a virtual machine reads for us, asked over a channel.

Nothing that comes back is believed: every answer is taken apart to its last byte, within its bounds, and a guest that
gives one that cannot be is asked no more. Names and numbers are for `screened` and `check_numbers` to judge, as any
reader's. ReaderError is what ends everything: the guest is gone, or broke the rules.

What is known to be wanted next is asked for before it is waited for: so the guest works while we do.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from types import TracebackType
from typing import NoReturn, Self

from icebrick.engine.file.base import (
    MAX_ENTRIES,
    MAX_SIZE,
    Directory,
    Entry,
    FileContent,
    FileTree,
    Listing,
    Problem,
)
from icebrick.errors import FileSystemError
from icebrick.microvm import wire
from icebrick.microvm.channel import Channel, GuestRefusal, Question
from icebrick.repository.tree import ExtendedAttribute

_AHEAD = 4
"""Parts of a file that are asked for before they are needed."""
_TOGETHER = 64 << 10
"""Files up to this size are fetched several at once."""
_SECOND = 10**9
_REASONS = {
    wire.NOT_REGULAR: "no regular file any more",
    wire.OTHER_FILE_SYSTEM: "another file system is mounted here",
    wire.TOO_MANY_ATTRIBUTES: f"more than {wire.MAX_ATTRIBUTES} bytes of extended attributes",
}


class GuestTree(FileTree):
    """The file system that is mounted in the guest; `root` is what it answered to that."""

    def __init__(self, channel: Channel, root: bytes) -> None:
        self._channel = channel
        answer = _Answer(channel, root)
        self._root, subvolumes = answer.take(wire.MOUNTED)
        self.has_subvolumes = bool(subvolumes)
        """Of a btrfs: a backup of its files would turn them into directories."""
        self._entry = answer.entry("")
        answer.end()

    def open_root(self) -> Directory:
        return _GuestDirectory(self._channel, self._root, self._entry).opened(".", "")


def mounted(channel: Channel, file_system: str, disk: int = 0) -> GuestTree:
    """The file system of this type on one of the guest's disks; FileSystemError with the guest kernel's reason."""
    try:
        root = channel.ask(wire.MOUNT, bytes([disk]) + file_system.encode("ascii")).answer()
    except GuestRefusal as refusal:
        raise FileSystemError(f"the {file_system} file system cannot be mounted: {_reason(refusal.reason)}") from None
    return GuestTree(channel, root)


class _Answer:
    """A body, taken apart from its start. What does not fit is the guest's fault, and its end."""

    def __init__(self, channel: Channel, body: bytes) -> None:
        self._channel, self._body, self._place = channel, body, 0

    @property
    def left(self) -> int:
        return len(self._body) - self._place

    def take(self, form: Struct) -> tuple[int, ...]:
        if form.size > self.left:
            self._refuse()
        found = form.unpack_from(self._body, self._place)
        self._place += form.size
        return found

    def bytes(self, length: int) -> memoryview:
        if length > self.left:
            self._refuse()
        self._place += length
        return memoryview(self._body)[self._place - length : self._place]

    def entry(self, name: str) -> Entry:
        mode, uid, gid, mtime, mtime_ns, ctime, ctime_ns, inode, links, size, rdev = self.take(wire.STATUS)
        times = mtime * _SECOND + mtime_ns, ctime * _SECOND + ctime_ns
        return Entry(name, mode, uid, gid, *times, inode, 0, links, size, rdev)

    def attributes(self, length: int) -> tuple[ExtendedAttribute, ...]:
        """As many as fill so many bytes."""
        end = self._place + length
        if length > 2 * wire.MAX_ATTRIBUTES or length > self.left:
            self._refuse()
        found = []
        while self._place < end:
            name = os.fsdecode(bytes(self.bytes(*self.take(wire.SHORT))))
            found.append(ExtendedAttribute(name, bytes(self.bytes(*self.take(wire.NUMBER)))))
        if self._place != end:
            self._refuse()
        return tuple(found)

    def end(self) -> None:
        if self.left:
            self._refuse()

    def _refuse(self) -> NoReturn:
        raise self._channel.give_up("gave an answer that cannot be")


class _GuestDirectory(Directory):
    """`_expected` are files that were asked for before they were opened, by name: each for the thread that opens it."""

    def __init__(self, channel: Channel, handle: int, entry: Entry) -> None:
        self._channel, self._handle, self._entry = channel, handle, entry
        self._expected: dict[str, _Fetch] = {}

    @property
    def entry(self) -> Entry:
        return self._entry

    def list(self) -> Listing:
        entries: list[Entry] = []
        problems: list[Problem] = []
        more = 1
        while more:
            answer = self._ask(wire.LIST, "", "listed")
            more, count = answer.take(wire.LISTED)
            if more and not count:
                raise self._channel.give_up("lists a directory without end")
            for _ in range(count):
                _examine(answer, entries, problems)
            answer.end()
            if len(entries) + len(problems) > MAX_ENTRIES:
                problems.append(Problem("", f"only the first {len(entries)} entries were read"))
                break
        return Listing(entries, tuple(problems))

    def attributes(self, name: str = "") -> tuple[ExtendedAttribute, ...]:
        answer = self._ask(wire.ATTRIBUTES, name, "asked for its extended attributes")
        return answer.attributes(answer.left)

    def link_target(self, name: str) -> str:
        question = self._channel.ask(wire.LINK, self._named(name))
        return os.fsdecode(_told(question, "read"))

    def open_directory(self, name: str) -> Directory:
        return self.opened(name, name)

    def opened(self, name: str, shown: str) -> Directory:
        """The same, called otherwise."""
        answer = self._ask(wire.ENTER, name, "opened")
        (handle,) = answer.take(wire.NUMBER)
        entry = answer.entry(shown)
        answer.end()
        return _GuestDirectory(self._channel, handle, entry)

    def expect(self, files: Sequence[Entry]) -> None:
        for batch in _batches(files):
            fetch = _Fetch.begin(self._channel, self._handle, [entry.name for entry in batch])
            self._expected.update((entry.name, fetch) for entry in batch)

    def open_file(self, name: str) -> FileContent:
        fetch = self._expected.pop(name, None)
        found = None if fetch is None else fetch.take(name)
        if found is None:  # not expected, or the answer had no room for it
            found = _Fetch.begin(self._channel, self._handle, [name]).take(name)
        if found is None:
            raise self._channel.give_up("does not give a file that was asked for alone")
        if found.reason:
            raise FileSystemError(_failed("opened", found.reason))
        return _GuestFile(self._channel, found)

    def close(self) -> None:
        self._channel.let_go(self._handle)

    def _named(self, name: str) -> bytes:
        return wire.NUMBER.pack(self._handle) + os.fsencode(name)

    def _ask(self, operation: int, name: str, verb: str) -> _Answer:
        return _Answer(self._channel, _told(self._channel.ask(operation, self._named(name)), verb))


def _examine(answer: _Answer, entries: list[Entry], problems: list[Problem]) -> None:
    reason, length = answer.take(wire.EXAMINED)
    name = str(answer.bytes(length), "utf-8", "surrogateescape")
    if reason:
        problems.append(Problem(name, f"could not be examined: {_reason(reason)}"))
    else:
        entries.append(answer.entry(name))


def _batches(files: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Small files together, as far as one answer holds them; others alone."""
    batch: list[Entry] = []
    size = 0
    for entry in files:
        if batch and (size + entry.size > wire.FULL or entry.size > _TOGETHER or len(batch) == wire.MAX_NAMES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class _Part:
    """Zeros, then bytes; whether the file ends behind them."""

    hole: int
    data: memoryview
    ended: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """One file of a fetch. `attributes` are a reason when they cannot be read; `handle` is 0 when `part` is all."""

    reason: int
    handle: int = 0
    attributes: tuple[ExtendedAttribute, ...] | int = ()
    part: _Part | None = None


class _Fetch:
    """Files that were asked for together."""

    def __init__(self, channel: Channel, names: Sequence[str], question: Question) -> None:
        self._channel, self._names, self._question = channel, names, question
        self._found: dict[str, _Found] | None = None

    @classmethod
    def begin(cls, channel: Channel, directory: int, names: Sequence[str]) -> _Fetch:
        head = wire.FETCHING.pack(directory, wire.MAX_PART, len(names))
        body = head + b"".join(wire.pack_text(os.fsencode(name)) for name in names)
        return cls(channel, names, channel.ask(wire.FETCH, body))

    def take(self, name: str) -> _Found | None:
        """That of this name; None when the answer was full before it."""
        if self._found is None:
            answer = _Answer(self._channel, _told(self._question, "opened"))
            self._found = {each: _take_found(self._channel, answer) for each in self._names}
            answer.end()
        found = self._found.pop(name)
        return None if found.reason == wire.NOT_NOW else found


def _take_found(channel: Channel, answer: _Answer) -> _Found:
    reason, handle = answer.take(wire.FETCHED)
    if reason:
        return _Found(reason)
    (without,) = answer.take(wire.NUMBER)
    attributes = without or answer.attributes(*answer.take(wire.NUMBER))
    return _Found(0, handle, attributes, _take_part(channel, answer))


def _take_part(channel: Channel, answer: _Answer) -> _Part:
    hole, ended, length = answer.take(wire.PART)
    if hole > MAX_SIZE or length > wire.MAX_PART:
        raise channel.give_up("gave an answer that cannot be")
    return _Part(hole, answer.bytes(length), bool(ended))


class _GuestFile(FileContent):
    """What is asked for ahead is bounded by `_AHEAD`, so the guest cannot make us hold more."""

    def __init__(self, channel: Channel, found: _Found) -> None:
        assert found.part is not None, "only what was found is opened"
        self._channel, self._handle, self._attributes = channel, found.handle, found.attributes
        self._hole, self._data, self._ended = found.part.hole, found.part.data, not found.handle
        self._coming: deque[Question] = deque()

    def hole(self) -> int:
        self._advance()
        return self._hole

    def skip(self, count: int) -> None:
        while count > 0 and self._advance():
            step = min(count, self._hole or len(self._data))
            self._consume(step)
            count -= step

    def read_into(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer) and self._advance():
            step = min(len(buffer) - filled, self._hole or len(self._data))
            buffer[filled : filled + step] = bytes(step) if self._hole else self._data[:step]
            self._consume(step)
            filled += step
        return filled

    def attributes(self) -> tuple[ExtendedAttribute, ...]:
        if isinstance(self._attributes, int):
            raise FileSystemError(_failed("asked for its extended attributes", self._attributes))
        return self._attributes

    def close(self) -> None:
        if self._handle:
            self._channel.let_go(self._handle)

    def _consume(self, count: int) -> None:
        if self._hole:
            self._hole -= count
        else:
            self._data = self._data[count:]

    def _advance(self) -> bool:
        """Whether there is something to read, or to skip."""
        while not (self._hole or self._data):
            if self._ended:
                return False
            while len(self._coming) < _AHEAD:
                body = wire.READING.pack(self._handle, wire.MAX_PART)
                self._coming.append(self._channel.ask(wire.READ, body))
            answer = _Answer(self._channel, _told(self._coming.popleft(), "read"))
            part = _take_part(self._channel, answer)
            answer.end()
            if not (part.hole or part.data or part.ended):
                raise self._channel.give_up("reads a file without end")
            self._hole, self._data, self._ended = part.hole, part.data, part.ended
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _told(question: Question, verb: str) -> bytes:
    try:
        return question.answer()
    except GuestRefusal as refusal:
        raise FileSystemError(_failed(verb, refusal.reason)) from None


def _failed(verb: str, reason: int) -> str:
    return _REASONS.get(reason) or f"could not be {verb}: {_reason(reason)}"


def _reason(reason: int) -> str:
    if reason == wire.MOUNT_PROGRAM:
        return "its program refuses"
    return _REASONS.get(reason) or os.strerror(min(reason, 1 << 20)).lower()
