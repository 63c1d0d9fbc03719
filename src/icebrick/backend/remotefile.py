"""Files and ranges of files that a server gives, each exactly as it was asked for."""

from __future__ import annotations

import re
from typing import Protocol

from icebrick.backend.base import FileInfo, Handle
from icebrick.backend.http.client import MOST_BYTES
from icebrick.backend.http.status import Answer, check
from icebrick.backend.ranges import range_header, range_length
from icebrick.errors import BackendError, ShortReadError


class RemoteFile(Protocol):
    """A file on a server that speaks HTTP's words, whoever sends them."""

    @property
    def handle(self) -> Handle:
        """Its name."""

    @property
    def where(self) -> str:
        """Its name and location, for messages."""

    def get(self, wanted: str | None, at_most: int) -> Answer:
        """The answer to a Range header, or for the whole file; an error when more than `at_most` bytes come."""

    def examine(self) -> FileInfo:
        """Its size."""


def load_file(file: RemoteFile, offset: int, length: int | None) -> bytes:
    """Exactly the range, as `ReadBackend.load` promises."""
    doing = f"load {file.where}"
    if (offset, length) == (0, None):
        answer = file.get(None, MOST_BYTES)
        check(answer, doing)
        return answer.body
    wanted = range_header(offset, length)
    if wanted is None:
        return _load_nothing(file, offset, length)
    answer = file.get(wanted, MOST_BYTES if length is None else length)
    if answer.status == 416:
        return _load_nothing(file, offset, length)
    check(answer, doing)
    _check_range(answer, file, offset, length)
    return answer.body


def _load_nothing(file: RemoteFile, offset: int, length: int | None) -> bytes:
    """A range that is empty, or not in the file; only the size tells which."""
    info = file.examine()
    if range_length(info, offset, length) != 0:
        raise ShortReadError(f"cannot load {file.where}: it has {info.size} bytes, and the server refuses a range")
    return b""


def _check_range(answer: Answer, file: RemoteFile, offset: int, length: int | None) -> None:
    if answer.status != 206:
        raise BackendError(f"cannot load {file.where}: the server gives no ranges of files")
    told = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", answer.headers.get("Content-Range", ""))
    if told is not None and told[3] != "*":
        range_length(FileInfo(file.handle, int(told[3])), offset, length)  # some servers answer so past the end too
    if told is None or int(told[1]) != offset or int(told[2]) - offset + 1 != len(answer.body):
        raise BackendError(f"cannot load {file.where}: the server sends another range than was asked for")
    if length is not None and len(answer.body) != length:
        raise ShortReadError(f"cannot load {file.where}: {len(answer.body)} instead of {length} bytes from {offset} on")
