"""What can happen to a stored file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.repository.configfile import new_config, save_config
from icebrick.repository.crypto import new_key

Damage = Callable[[Backend, list[Handle]], None]
"""Done to the first of the files; the others are of the same type."""


def truncated(backend: Backend, files: list[Handle]) -> None:
    backend.save(files[0], backend.load(files[0])[:-1])


def halved(backend: Backend, files: list[Handle]) -> None:
    content = backend.load(files[0])
    backend.save(files[0], content[: len(content) // 2])


def extended(backend: Backend, files: list[Handle]) -> None:
    backend.save(files[0], backend.load(files[0]) + b"\0")


def emptied(backend: Backend, files: list[Handle]) -> None:
    backend.save(files[0], b"")


def missing(backend: Backend, files: list[Handle]) -> None:
    backend.remove(files[0])


def swapped(backend: Backend, files: list[Handle]) -> None:
    """With another file of the type, or, as there is only one config, with another repository's."""
    if files[0].type is FileType.CONFIG:
        save_config(backend, new_key(), new_config())
        return
    first, second = backend.load(files[0]), backend.load(files[1])
    backend.save(files[0], second)
    backend.save(files[1], first)


def flipped(place: float) -> Damage:
    """One bit, at this part of the length."""

    def damage(backend: Backend, files: list[Handle]) -> None:
        content = bytearray(backend.load(files[0]))
        content[int(place * (len(content) - 1))] ^= 4
        backend.save(files[0], content)

    return damage


DAMAGES: Mapping[str, Damage] = {
    "a byte short": truncated,
    "half": halved,
    "a byte long": extended,
    "empty": emptied,
    "gone": missing,
    "swapped": swapped,
    **{f"bit at {place:.0%}": flipped(place) for place in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)},
}
