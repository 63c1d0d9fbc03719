"""What a check is, and the words that checks are written in."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.errors import BackendError, ConformanceError

CONFIG = Handle(FileType.CONFIG)
NAMED_TYPES: tuple[FileType, ...] = tuple(kind for kind in FileType if kind is not FileType.CONFIG)
CONTENT = bytes(range(256)) * 3


@dataclass(frozen=True, slots=True)
class Check:
    """One guarantee of `icebrick.backend.base`, and what proves it."""

    run: Callable[[Backend], None]
    """Given a created backend without any file; ConformanceError when it does otherwise. Files stay."""
    needed: bool = True
    """Without it a repository would not be safe; without what is not needed, a run may end with an error."""

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", "-")

    @property
    def sentence(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


def named(content: bytes, file_type: FileType = FileType.PACK) -> Handle:
    """The handle under which a repository keeps this content."""
    return Handle(file_type, hashlib.sha256(content).hexdigest())


def handle_for(content: bytes, file_type: FileType) -> Handle:
    """The same; there is only one config."""
    return CONFIG if file_type is FileType.CONFIG else named(content, file_type)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no two seeds share, and that no range of repeats."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - to be repeatable, not secret


def save_content(backend: Backend) -> Handle:
    """A pack with CONTENT in it."""
    handle = named(CONTENT)
    backend.save(handle, CONTENT)
    return handle


def listed(backend: Backend, file_type: FileType) -> set[FileInfo]:
    """The files of the type, each given once."""
    found = list(backend.list_files(file_type))
    require(len(set(found)) == len(found), f"a listing of {file_type.value} gives a file twice")
    return set(found)


def require(condition: bool, otherwise: str) -> None:
    """ConformanceError, saying what is `otherwise`."""
    if not condition:
        raise ConformanceError(otherwise)


def require_same(what: str, found: object, wanted: object) -> None:
    """ConformanceError with both, shortened."""
    if found != wanted:
        raise ConformanceError(f"{what}: got {_shown(found)}, not {_shown(wanted)}")


def require_error(what: str, kind: type[BackendError], call: Callable[[], Any]) -> str:
    """The message of the error of that kind with which the call ended; ConformanceError when it did not."""
    try:
        result = call()
    except kind as error:
        return str(error)
    except BackendError as error:
        raise ConformanceError(f"{what}: ended with {type(error).__name__}, not {kind.__name__}: {error}") from error
    raise ConformanceError(f"{what}: got {_shown(result)}, not an error")


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes with digest {hashlib.sha256(value).hexdigest()[:8]}"
    if isinstance(value, set):
        return f"{len(value)} files"
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
