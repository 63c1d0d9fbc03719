"""How the snapshots are laid out in directories.

    ids/<short id>/                     every snapshot
    snapshots/<time>/                   every snapshot, and `latest`
    volumes/<volume id>/<time>/         those of a volume, and `latest`
    images/<name>/<time>/               those of an image, and `latest`
    names/<name>_<short id>             links to volumes, by the names they had

A name stays its snapshot's for as long as the mount lasts, and is given to no other: what the kernel or a program has
read under it is never mixed with what another snapshot holds.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from icebrick.repository.snapshot import Snapshot
from icebrick.workflow.naming import NAME, image_of_path, tagged, volume_of_path

LATEST = "latest"
_SHORT = 8
_LONGEST = 200  # bytes of a name, so that something can be put behind it

Shelf: TypeAlias = "Mapping[str, Shelf | Snapshot | str]"
"""A directory that no snapshot holds: others, snapshots, and symbolic links by their targets."""


@dataclass(slots=True)
class _Names:
    """Those in one directory: names and whose they are."""

    owners: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def give(self, owner: str, candidates: Iterable[str]) -> str:
        """The owner's name, else the first of the candidates that nobody ever had."""
        if owner not in self.names:
            name = next(candidate for candidate in candidates if candidate not in self.owners)
            self.owners[name], self.names[owner] = owner, name
        return self.names[owner]


class Catalogue:
    """Remembers all names it has given. For one thread at a time."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], _Names] = {}

    def shelve(self, snapshots: Iterable[Snapshot]) -> Shelf:
        """The root directory with these snapshots, which are given oldest first."""
        there = list(snapshots)
        return {
            "ids": {self._id(snapshot): snapshot for snapshot in there},
            "images": self._by_time("images", _grouped(there, _image)),
            "names": self._links(there),
            "snapshots": self._times(("snapshots",), there),
            "volumes": self._by_time("volumes", _grouped(there, _volume)),
        }

    def _by_time(self, place: str, groups: Mapping[str, list[Snapshot]]) -> Shelf:
        return {name: self._times((place, name), members) for name, members in groups.items()}

    def _times(self, place: tuple[str, ...], snapshots: list[Snapshot]) -> Shelf:
        shelf: dict[str, Shelf | Snapshot | str] = {self._time(place, snapshot): snapshot for snapshot in snapshots}
        if shelf:
            shelf[LATEST] = next(reversed(shelf))
        return shelf

    def _time(self, place: tuple[str, ...], snapshot: Snapshot) -> str:
        moment = snapshot.time.to_datetime().isoformat(timespec="seconds").replace("+00:00", "Z")
        return self._in(place).give(snapshot.id or "", _numbered(moment))

    def _id(self, snapshot: Snapshot) -> str:
        whole = snapshot.id or ""
        return self._in(("ids",)).give(whole, (whole[:length] for length in range(_SHORT, len(whole) + 1)))

    def _links(self, snapshots: list[Snapshot]) -> Shelf:
        links: dict[str, str] = {}
        for snapshot in snapshots:
            volume_id, name = _volume(snapshot), tagged(snapshot.tags, NAME)
            if volume_id is not None and name:
                word = _word(name)
                candidates = itertools.chain([f"{word}_{volume_id[:_SHORT]}"], _numbered(f"{word}_{volume_id}"))
                links[self._in(("names",)).give(f"{volume_id}/{word}", candidates)] = f"../volumes/{volume_id}"
        return links

    def _in(self, place: tuple[str, ...]) -> _Names:
        return self._names.setdefault(place, _Names())


def _numbered(word: str) -> Iterator[str]:
    yield word
    for number in itertools.count(1):
        yield f"{word}-{number}"


def _grouped(snapshots: Iterable[Snapshot], name_of: Callable[[Snapshot], str | None]) -> Mapping[str, list[Snapshot]]:
    groups: dict[str, list[Snapshot]] = {}
    for snapshot in snapshots:
        name = name_of(snapshot)
        if name is not None:
            groups.setdefault(name, []).append(snapshot)
    return groups


def _volume(snapshot: Snapshot) -> str | None:
    return _of_path(snapshot, volume_of_path)


def _image(snapshot: Snapshot) -> str | None:
    return _of_path(snapshot, image_of_path)


def _of_path(snapshot: Snapshot, read: Callable[[str], str | None]) -> str | None:
    """None also for a name that cannot be one step of a path: whoever writes to the repository chooses it."""
    name = read(snapshot.paths[0]) if len(snapshot.paths) == 1 else None
    return name if name is not None and name not in ("", ".", "..") and name == _word(name) else None


def _word(name: str) -> str:
    """As one step of a path that something can be put behind."""
    word = name.replace("/", "_").replace("\0", "_")
    return os.fsencode(word)[:_LONGEST].decode(errors="ignore")
