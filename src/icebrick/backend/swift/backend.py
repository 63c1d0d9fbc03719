"""A repository in a container of Swift.

    swift:container:/prefix

Each file is one object, replaced as a whole: packs stay far below the size from which Swift wants segments.
Decision record: docs/design/decisions/0010-storage-libraries.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from icebrick.backend.base import Handle
from icebrick.backend.http.client import CONNECTIONS, MOST_BYTES, Request
from icebrick.backend.http.files import HttpFile
from icebrick.backend.http.status import Answer, check
from icebrick.backend.location import Location
from icebrick.backend.objects import ObjectBackend, clean_prefix
from icebrick.backend.options import BackendOptions, connections_of
from icebrick.backend.swift.login import SwiftAccount, swift_account
from icebrick.blockdev import Data
from icebrick.errors import BackendError, FileMissingError, UsageError

OPTIONS = ("cloud", "connections", "container-policy")
_PAGE = 10_000


def open_swift(location: Location, options: BackendOptions) -> SwiftBackend:
    """Of swift:container:/prefix. How to log in: see `login`."""
    values = options.of("swift", OPTIONS)
    container, colon, prefix = location.address.partition(":")
    if not container or "/" in container or not colon or not prefix.startswith("/"):
        raise UsageError(
            f"the repository location {location} names no container", hint="Write swift:CONTAINER:/PREFIX."
        )
    return SwiftBackend(
        swift_account(options, values.get("cloud"), connections_of(values, CONNECTIONS)),
        container,
        clean_prefix(prefix),
        policy=values.get("container-policy") or options.environment.get("SWIFT_DEFAULT_CONTAINER_POLICY"),
    )


class SwiftBackend(ObjectBackend):
    """Objects in a container. `policy` is for one that is made."""

    def __init__(self, account: SwiftAccount, container: str, prefix: str, *, policy: str | None = None) -> None:
        location = f"swift:{container}:/{prefix.rstrip('/')}"
        super().__init__(prefix, location=location, connections=account.client.connections)
        self._client = account.client
        self._login = account.login
        self._container = quote(container, safe="")
        self._policy = policy
        self._made = False

    def create(self) -> None:
        doing = f"create {self.location}"
        if self._ask("HEAD", "", doing).status != 404:  # who may not ask may still write
            return
        policy = {} if self._policy is None else {"X-Storage-Policy": self._policy}
        made = self._ask("PUT", "", doing, headers=policy)
        check(made, doing)
        self._made = made.status == 201

    def save(self, handle: Handle, data: Data) -> None:
        file = self.file(handle)
        doing = f"save {file.where}"
        # Refused with 422 when something else arrived.
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        headers = {"ETag": digest, "Content-Type": "application/octet-stream"}
        answer = self._send(Request("PUT", file.url, doing, data), headers)
        if answer.status == 404:
            raise BackendError(f"cannot {doing}: there is no such container", hint="'icebrick init' makes it.")
        check(answer, doing)

    def remove(self, handle: Handle) -> None:
        file = self.file(handle)
        doing = f"remove {file.where}"
        with suppress(FileMissingError):
            check(self._send(Request("DELETE", file.url, doing), {}), doing)

    def discard(self) -> bool:
        """Removes the container, if this made it."""
        if self._made:
            doing = f"remove the container of {self.location}"
            try:
                check(self._ask("DELETE", "", doing), doing)
            except BackendError:
                return False
            self._made = False
        return True

    def close(self) -> None:
        self._client.close()

    def file(self, handle: Handle) -> HttpFile:
        path = f"{self._container}/{quote(self.key(handle))}"
        return HttpFile(handle, f"{handle} at {self.location}", path, self._send)

    def objects(self, prefix: str, doing: str) -> Iterator[tuple[str, int]]:
        marker = ""
        while True:
            query = urlencode({"format": "json", "prefix": prefix, "limit": _PAGE, "marker": marker})
            answer = self._ask("GET", f"?{query}", doing)
            if answer.status == 404:
                return
            check(answer, doing)
            found = list(_entries(answer.body, doing))
            yield from found
            if not found:
                return
            if found[-1][0] <= marker:
                raise BackendError(f"cannot {doing}: the listing does not go on")
            marker = found[-1][0]

    def _ask(self, method: str, query: str, doing: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The container."""
        return self._send(Request(method, f"{self._container}{query}", doing), headers or {})

    def _send(self, request: Request, headers: Mapping[str, str], *, at_most: int = MOST_BYTES) -> Answer:
        """The request's URL is what follows the account's. A token that is refused is renewed once."""
        access = self._login.access()
        for last in (False, True):
            there = Request(request.method, f"{access.url}/{request.url}", request.doing, request.body)
            answer = self._client.send(there, {**headers, "X-Auth-Token": access.token}, at_most=at_most)
            if answer.status != 401 or last:
                break
            access = self._login.renewed(access)
        return answer


def _entries(body: bytes, doing: str) -> Iterator[tuple[str, int]]:
    """Names and sizes; {"subdir": ...} and the like are no objects, and do not come without a delimiter."""
    try:
        entries: Any = json.loads(body) if body else []
        for entry in entries:
            yield str(entry["name"]), int(entry["bytes"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackendError(f"cannot {doing}: the server's answer is no listing") from error
