"""A file system in memory, that can tell and do what no honest one does."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from icebrick.engine.file.base import Directory, Entry, FileContent, FileTree, Listing, Problem
from icebrick.errors import FileSystemError
from icebrick.repository.tree import ExtendedAttribute


@dataclass(slots=True)
class Planted:
    """An entry and what is behind it. `broken` names what fails: list, open, read, attributes or link."""

    entry: Entry
    content: bytes = b""
    target: str = ""
    attributes: tuple[ExtendedAttribute, ...] = ()
    below: list[Planted] = field(default_factory=list)
    problems: tuple[Problem, ...] = ()
    broken: frozenset[str] = frozenset()

    def check(self, what: str) -> None:
        """FileSystemError when that is broken."""
        if what in self.broken:
            raise FileSystemError(f"broken: {what}")


def file(name: str, content: bytes = b"", *, inode: int = 10, size: int | None = None, broken: str = "") -> Planted:
    """A regular file; `size` is what its listing tells, when that shall not be true."""
    entry = Entry(name, stat.S_IFREG | 0o644, 0, 0, 1, 2, inode, size=len(content) if size is None else size)
    return Planted(entry, content, broken=frozenset(broken.split()))


def directory(name: str, below: Iterable[Planted] = (), *, inode: int = 2, broken: str = "") -> Planted:
    entry = Entry(name, stat.S_IFDIR | 0o755, 0, 0, 1, 2, inode)
    return Planted(entry, below=list(below), broken=frozenset(broken.split()))


class FakeTree(FileTree):
    """Notes which files were opened, and how many things are open."""

    def __init__(self, *below: Planted) -> None:
        self.root = directory("", below)
        self.read: list[str] = []
        self.open = 0

    def open_root(self) -> Directory:
        return _FakeDirectory(self, self.root)


class _FakeDirectory(Directory):
    def __init__(self, tree: FakeTree, planted: Planted) -> None:
        planted.check("open")
        self._tree, self._planted = tree, planted
        tree.open += 1

    @property
    def entry(self) -> Entry:
        return self._planted.entry

    def list(self) -> Listing:
        self._planted.check("list")
        return Listing([planted.entry for planted in self._planted.below], self._planted.problems)

    def attributes(self, name: str = "") -> tuple[ExtendedAttribute, ...]:
        planted = self._find(name) if name else self._planted
        planted.check("attributes")
        return planted.attributes

    def link_target(self, name: str) -> str:
        planted = self._find(name)
        planted.check("link")
        if not stat.S_ISLNK(planted.entry.mode):
            raise FileSystemError("no link")
        return planted.target

    def open_directory(self, name: str) -> Directory:
        planted = self._find(name)
        if not stat.S_ISDIR(planted.entry.mode):
            raise FileSystemError("no directory")
        return _FakeDirectory(self._tree, planted)

    def expect(self, files: Sequence[Entry]) -> None:
        pass

    def open_file(self, name: str) -> FileContent:
        planted = self._find(name)
        if not stat.S_ISREG(planted.entry.mode):
            raise FileSystemError("no regular file")
        self._tree.read.append(name)
        return _FakeFile(self._tree, planted)

    def close(self) -> None:
        self._tree.open -= 1

    def _find(self, name: str) -> Planted:
        for planted in self._planted.below:
            if planted.entry.name == name:
                return planted
        raise FileSystemError("no such entry")


class _FakeFile(FileContent):
    def __init__(self, tree: FakeTree, planted: Planted) -> None:
        planted.check("open")
        self._tree, self._planted, self._position = tree, planted, 0
        tree.open += 1

    def hole(self) -> int:
        return 0

    def skip(self, count: int) -> None:
        self._position += count

    def read_into(self, buffer: memoryview) -> int:
        self._planted.check("read")
        part = self._planted.content[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def attributes(self) -> tuple[ExtendedAttribute, ...]:
        self._planted.check("attributes")
        return self._planted.attributes

    def close(self) -> None:
        self._tree.open -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
