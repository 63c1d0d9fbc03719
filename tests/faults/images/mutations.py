"""Damage of many kinds, and what somebody might write who means harm. The same for the same seed."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.images.bases import FOLDER, LINK, NAME, NOTE, OTHER, SIZE, Base

_SUPERBLOCKS = {"ext4": (1024, 264), "xfs": (0, 264), "btrfs": (65536 + 32, 600), "vfat": (0, 96), "ntfs": (0, 84)}
"""Where its fields are, and how many bytes they have."""
_NODE = 16 << 10
_CHECKSUM = 32
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 62), (1 << 64) - 1)
_EVIL = ("../../../../evil", "..", ".", "", "/etc/evil-passwd", "a\0b", "sub/dir/evil", FOLDER, LINK, OTHER)


class Image:
    """A file system as pieces of 4 KiB, to be changed; what was changed is put right where it has checksums."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.size = base.size
        self.pieces = dict(base.pieces)

    @property
    def offsets(self) -> Sequence[int]:
        return tuple(self.pieces)

    def read(self, offset: int, length: int) -> bytes:
        found = bytearray(length)
        for place in range(offset - offset % 4096, offset + length, 4096):
            piece = self.pieces.get(place, bytes(4096))
            start = max(place, offset)
            part = piece[start - place : offset + length - place]
            found[start - offset : start - offset + len(part)] = part
        return bytes(found)

    def write(self, offset: int, data: bytes) -> None:
        for place in range(offset - offset % 4096, offset + len(data), 4096):
            piece = bytearray(self.pieces.get(place, bytes(4096)))
            start = max(place, offset)
            part = data[start - offset : place + 4096 - offset]
            piece[start - place : start - place + len(part)] = part
            self.pieces[place] = bytes(piece)

    def find(self, text: bytes) -> list[int]:
        """Where it stands, within one piece."""
        return [
            place + found.start()
            for place, piece in self.pieces.items()
            for found in re.finditer(re.escape(text), piece)
        ]

    def mend_checksums(self, changed: Sequence[int]) -> None:
        """Of btrfs: its drivers look at nothing that has a wrong one."""
        if self.base.type != "btrfs":
            return
        for node in {65536 if place < 131072 else place - place % _NODE for place in changed}:
            length = 4096 if node == 65536 else _NODE
            data = self.read(node + _CHECKSUM, length - _CHECKSUM)
            self.write(node, crc32c(data).to_bytes(4, "little"))

    def store(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(self.size)
            for place, piece in self.pieces.items():
                if place < self.size:
                    file.seek(place)
                    file.write(piece[: self.size - place])


def crc32c(data: bytes) -> int:
    table = _crc_table()
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


@functools.cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # noqa: PLW2901
        table.append(value)
    return tuple(table)


def flip(image: Image, chance: random.Random) -> list[int]:
    """Bytes anywhere, a few or many."""
    places = [chance.choice(image.offsets) + chance.randrange(4096) for _ in range(chance.choice((1, 4, 16, 64)))]
    for place in places:
        image.write(place, bytes([chance.randrange(256)]))
    return places


def superblock(image: Image, chance: random.Random) -> list[int]:
    """Fields of it with numbers that nobody expects."""
    start, length = _SUPERBLOCKS[image.base.type]
    places = []
    for _ in range(chance.choice((1, 1, 2, 4))):
        width = chance.choice((1, 2, 4, 8))
        places.append(start + chance.randrange(0, length, width))
        image.write(places[-1], _number(chance, width))
    return places


def field(image: Image, chance: random.Random) -> list[int]:
    """Numbers anywhere that nobody expects."""
    places = []
    for _ in range(chance.choice((1, 2, 8))):
        width = chance.choice((2, 4, 8))
        places.append(chance.choice(image.offsets) + chance.randrange(0, 4096, width))
        image.write(places[-1], _number(chance, width))
    return places


def name(image: Image, chance: random.Random) -> list[int]:
    """Names that lead elsewhere, that are there twice, or that are none."""
    places = []
    for old in chance.sample((FOLDER, NAME, OTHER, LINK), chance.choice((1, 2))):
        new = chance.choice(_EVIL)
        for encoding in ("ascii", "utf-16-le"):
            was = old.encode(encoding)
            for place in image.find(was):
                image.write(place, new.encode(encoding).ljust(len(was), b"\0")[: len(was)])
                places.append(place)
    return places


def link(image: Image, chance: random.Random) -> list[int]:
    """What stands beside a name is which inode it means: it shall mean another one, maybe a directory above."""
    names = [each.encode(encoding) for each in (FOLDER, NAME, "deep", "many") for encoding in ("ascii", "utf-16-le")]
    places = [place for each in names for place in image.find(each)]
    chosen = chance.sample(places, min(len(places), 3))
    for place in chosen:
        start = max(0, place - 16)
        image.write(start + chance.randrange(0, 16, 2), _number(chance, chance.choice((1, 2, 4))))
    return chosen


def size(image: Image, chance: random.Random) -> list[int]:
    """Files that say they are larger than can be."""
    huge = chance.choice((1 << 31, 1 << 40, 1 << 44, (1 << 62) + 1, (1 << 63) - 1, (1 << 64) - 1))
    places = []
    for order in ("little", "big"):
        for place in image.find(SIZE.to_bytes(4, order)):
            width = 8 if order == "little" else 4
            image.write(place, (huge & (1 << 8 * width) - 1).to_bytes(width, order))
            places.append(place)
    return places


def attribute(image: Image, chance: random.Random) -> list[int]:
    """The lengths beside an extended attribute; where there are none, any numbers."""
    places = image.find(NOTE[5:])
    if not places:
        return field(image, chance)
    for place in places:
        for _ in range(3):
            image.write(max(0, place + chance.randrange(-24, 24)), _number(chance, chance.choice((1, 2, 4))))
    return places


def splice(image: Image, chance: random.Random) -> list[int]:
    """A part of it where another belongs: directories that lead in circles, blocks that belong to several."""
    places = []
    for _ in range(chance.choice((1, 2, 4))):
        length = chance.choice((16, 64, 256, 1024, 4096))
        source, target = (chance.choice(image.offsets) + chance.randrange(0, 4097 - length, 16) for _ in range(2))
        image.write(target, image.read(source, length))
        places.append(target)
    return places


def lose(image: Image, chance: random.Random) -> list[int]:
    """Whole blocks are zeros, or noise."""
    places = [chance.choice(image.offsets) for _ in range(chance.choice((1, 2, 4)))]
    for place in places:
        image.write(place, bytes(4096) if chance.random() < 0.5 else chance.randbytes(4096))
    return places


def truncate(image: Image, chance: random.Random) -> list[int]:
    """The disk is shorter than the file system."""
    image.size = max(4096, int(image.size * chance.random()) // 512 * 512)
    return []


def _number(chance: random.Random, width: int) -> bytes:
    number = chance.choice(_EDGES) if chance.random() < 0.7 else chance.getrandbits(64)
    return (number & (1 << 8 * width) - 1).to_bytes(width, chance.choice(("little", "big")))


KINDS: Mapping[str, Callable[[Image, random.Random], list[int]]] = {
    kind.__name__: kind for kind in (flip, superblock, field, name, link, size, attribute, splice, lose, truncate)
}


@dataclass(frozen=True, slots=True)
class Case:
    """One image of the corpus."""

    base: Base
    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.base.name}/{self.kind}/{self.seed}"

    def changed(self) -> tuple[int, Mapping[int, bytes]]:
        """Size and pieces."""
        image = self._image()
        return image.size, image.pieces

    def store(self, path: Path) -> None:
        self._image().store(path)

    def _image(self) -> Image:
        image = Image(self.base)
        changed = KINDS[self.kind](image, random.Random(f"{self.base.name} {self.kind} {self.seed}"))
        image.mend_checksums(changed)
        return image


def make_cases(bases: Sequence[Base], seeds: range) -> list[Case]:
    """Of each kind of file system and damage, one for each seed."""
    return [Case(base, kind, seed) for seed in seeds for base in bases for kind in KINDS]
