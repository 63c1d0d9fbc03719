"""A file at a URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from icebrick.backend.base import FileInfo, Handle
from icebrick.backend.http.client import MOST_BYTES, Request
from icebrick.backend.http.status import Answer, check, number_of
from icebrick.errors import BackendError


class Send(Protocol):
    """Sends a request with what the server wants to know of who asks, as `HttpClient.send`."""

    def __call__(self, request: Request, headers: Mapping[str, str], *, at_most: int = MOST_BYTES) -> Answer:
        """The answer, whatever its status."""


@dataclass(frozen=True, slots=True)
class HttpFile:
    """A `RemoteFile` at a URL; `where` is its name and location, for messages."""

    handle: Handle
    where: str
    url: str
    send: Send

    def get(self, wanted: str | None, at_most: int) -> Answer:
        headers = {} if wanted is None else {"Range": wanted}
        return self.send(Request("GET", self.url, f"load {self.where}"), headers, at_most=at_most)

    def examine(self) -> FileInfo:
        request = Request("HEAD", self.url, f"examine {self.where}")
        answer = self.send(request, {})
        check(answer, request.doing)
        length = number_of(answer.headers.get("Content-Length"))
        if length is None:
            raise BackendError(f"cannot {request.doing}: the server does not tell its size")
        return FileInfo(self.handle, length)
