"""What an HTTP answer means: its status, and what it says besides."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    ShortReadError,
    StorageFullError,
)

_LONGEST_DETAIL = 200
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
# Damaged on its way, says a server that was told the digest; so it may arrive the next time.
_DAMAGED = 422
_STATUSES: dict[int, type[BackendError]] = {
    401: AccessDeniedError,
    403: AccessDeniedError,
    404: FileMissingError,
    407: AccessDeniedError,
    413: StorageFullError,
    416: ShortReadError,
    507: StorageFullError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, of any status; the names of `headers` are compared without case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def check(answer: Answer, doing: str) -> None:
    """Raise our error unless the status says that all went well."""
    if not 200 <= answer.status < 300:
        raise error_of_status(answer.status, doing, detail=_detail(answer), headers=answer.headers)


def error_of_status(status: int, doing: str, *, detail: str = "", headers: Mapping[str, str]) -> BackendError:
    """Our error for a status that is not one of success; `doing` completes "cannot ..."."""
    message = f"cannot {doing}: {detail or 'no reason given'} (HTTP {status})"
    if 300 <= status < 400:
        host = urlsplit(headers.get("Location", "")).hostname or "another place"
        return BackendError(f"cannot {doing}: the server points to {host} (HTTP {status})", hint="Check the address.")
    if status in _BUSY or status == _DAMAGED:
        return BackendUnavailableError(message, retry_after=_seconds(headers.get("Retry-After", "")))
    return _STATUSES.get(status, BackendError)(message)


def number_of(text: str | None) -> int | None:
    """What a header says; None when that is no number, or one that no file has bytes."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None


def printable(text: str) -> str:
    """What a server says, short and without what could steer a terminal."""
    return "".join(each for each in text if each.isprintable())[:_LONGEST_DETAIL]


def _detail(answer: Answer) -> str:
    """The first line of what the server says, if it is meant to be read, without what could steer a terminal."""
    if not answer.headers.get("Content-Type", "").startswith("text/plain"):
        return ""
    first = answer.body.decode("utf-8", "replace").strip().partition("\n")[0]
    return printable(first)


def _seconds(value: str) -> float | None:
    """Of a Retry-After header. A date in it is passed over: the clocks of two hosts may differ by more."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
