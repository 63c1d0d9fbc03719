"""Files and ranges of files over HTTP, each exactly as it was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from icebrick.backend.base import FileInfo, Handle
from icebrick.backend.http import HttpClient, Request
from icebrick.backend.httpstatus import Answer, check
from icebrick.backend.ranges import range_header, range_length
from icebrick.errors import BackendError, ShortReadError


@dataclass(frozen=True, slots=True)
class HttpFile:
    """A file as a server has it; `where` names it in messages, with the location."""

    handle: Handle
    url: str
    where: str


def load_file(client: HttpClient, file: HttpFile, headers: Mapping[str, str], offset: int, length: int | None) -> bytes:
    """Exactly the range, as `ReadBackend.load` promises."""
    request = Request("GET", file.url, f"load {file.where}")
    if (offset, length) == (0, None):
        answer = client.send(request, headers)
        check(answer, request.doing)
        return answer.body
    wanted = range_header(offset, length)
    if wanted is None:
        return _load_nothing(client, file, headers, offset, length)
    answer = client.send(request, {**headers, "Range": wanted}, at_most=length)
    if answer.status == 416:
        return _load_nothing(client, file, headers, offset, length)
    check(answer, request.doing)
    _check_range(answer, file, offset, length)
    return answer.body


def examine_file(client: HttpClient, file: HttpFile, headers: Mapping[str, str]) -> FileInfo:
    """What HEAD tells."""
    request = Request("HEAD", file.url, f"examine {file.where}")
    answer = client.send(request, headers)
    check(answer, request.doing)
    length = answer.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise BackendError(f"cannot {request.doing}: the server does not tell its size")
    return FileInfo(file.handle, int(length))


def _load_nothing(
    client: HttpClient, file: HttpFile, headers: Mapping[str, str], offset: int, length: int | None
) -> bytes:
    """A range that is empty, or not in the file; only the size tells which."""
    info = examine_file(client, file, headers)
    if range_length(info, offset, length) != 0:
        raise ShortReadError(f"cannot load {file.where}: it has {info.size} bytes, and the server refuses a range")
    return b""


def _check_range(answer: Answer, file: HttpFile, offset: int, length: int | None) -> None:
    if answer.status != 206:
        raise BackendError(f"cannot load {file.where}: the server gives no ranges of files")
    told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if told is not None and told[3] != "*":
        range_length(FileInfo(file.handle, int(told[3])), offset, length)  # some servers answer so past the end too
    if told is None or int(told[1]) != offset or int(told[2]) - offset + 1 != len(answer.body):
        raise BackendError(f"cannot load {file.where}: the server sends another range than was asked for")
    if length is not None and len(answer.body) != length:
        raise ShortReadError(f"cannot load {file.where}: {len(answer.body)} instead of {length} bytes from {offset} on")
