"""Which paths of a snapshot are meant, by patterns as restic's --include and --exclude take them.

A pattern is matched with each component of a path by `*`, `?` and `[...]`; `**` stands for any number of components.
One that begins with `/` begins at the root of the file system, any other matches at every depth. What matches a
directory goes for everything in it; an exclusion wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from icebrick.errors import UsageError

TreePath = tuple[str, ...]
"""The components of a path, from the root of the file system on."""

_ANY_DEPTH = "**"


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns; without any to include, everything is."""

    include: tuple[TreePath, ...] = ()
    exclude: tuple[TreePath, ...] = ()

    @property
    def is_all(self) -> bool:
        return not self.include and not self.exclude

    def start(self) -> Selected:
        """What holds for the root."""
        return Selected(self, not self.include)


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Selected:
    """What holds for one directory: whether it is meant, and how to find out about its entries."""

    selection: Selection
    is_meant: bool

    def below(self, path: TreePath) -> Selected | None:
        """For an entry of the directory, by its whole path; None when it and all in it are excluded."""
        if self.selection.is_all:
            return self
        if any(_matches(pattern, path) for pattern in self.selection.exclude):
            return None
        meant = self.is_meant or any(_matches(pattern, path) for pattern in self.selection.include)
        return self if meant == self.is_meant else Selected(self.selection, meant)


def select(include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Selection:
    """UsageError for a pattern that can match nothing."""
    return Selection(tuple(map(_parse, include)), tuple(map(_parse, exclude)))


def _parse(pattern: str) -> TreePath:
    parts = tuple(part for part in pattern.split("/") if part)
    if not parts or not {".", ".."}.isdisjoint(parts):
        raise UsageError(f"the pattern {pattern!r} matches no path", hint="Patterns are like '*.conf' or '/etc/hosts'.")
    return parts if pattern.startswith("/") else (_ANY_DEPTH, *parts)


def _matches(pattern: TreePath, path: TreePath) -> bool:
    if not pattern:
        return not path
    if pattern[0] == _ANY_DEPTH:
        return any(_matches(pattern[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(pattern[1:], path[1:])
