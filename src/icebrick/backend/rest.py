"""restic's REST protocol: rest-server, rclone's server and others.

    POST {url}?create=true       GET, HEAD, POST, DELETE {url}config, {url}{type}/{name}       GET {url}{type}/

A type is a name of restic's directories; packs are not spread over subdirectories, the server does that itself.
Decision record: docs/design/decisions/0010-storage-libraries.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.http.client import (
    CONNECTIONS,
    MOST_BYTES,
    HttpClient,
    HttpSettings,
    Request,
    basic_authorization,
    http_settings,
    split_login,
)
from icebrick.backend.http.files import HttpFile
from icebrick.backend.http.status import Answer, check
from icebrick.backend.layout import is_id, path_of
from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions, connections_of
from icebrick.backend.remotefile import load_file
from icebrick.blockdev import Data
from icebrick.errors import BackendError, BackendUnavailableError, FileMissingError, UsageError

OPTIONS = ("connections",)
_WITH_SIZES = "application/vnd.x.restic.rest.v2"


def open_rest(location: Location, options: BackendOptions) -> RestBackend:
    """Of rest:http://user:password@host:port/path/; the login may also be in RESTIC_REST_USERNAME and _PASSWORD."""
    url, user, password = split_login(location.address)
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        hint = "Write rest:https://HOST:PORT/PATH/."
        raise UsageError(f"the repository location {location} has no address of a server", hint=hint)
    user = options.environment.get("RESTIC_REST_USERNAME") if user is None else user
    password = options.environment.get("RESTIC_REST_PASSWORD") if password is None else password
    login = None if user is None else (user, password or "")
    connections = connections_of(options.of("rest", OPTIONS), CONNECTIONS)
    return RestBackend(url, login, http_settings(options, connections))


class RestBackend(Backend):
    """A repository below `url`, which holds no login; `login` is user and password."""

    def __init__(
        self, url: str, login: tuple[str, str] | None, settings: HttpSettings, location: str | None = None
    ) -> None:
        self.location = f"rest:{url}" if location is None else location
        self.connections = settings.connections
        self._url = url if url.endswith("/") else f"{url}/"
        self._headers = {} if login is None else {"Authorization": basic_authorization(*login)}
        self._client = HttpClient(settings)
        self._by_rclone = False  # as its last answer said

    def create(self) -> None:
        doing = f"create {self.location}"
        check(self._send(Request("POST", f"{self._url}?create=true", doing), {}), doing)

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        with self._sure_of_absence(handle):
            return load_file(self._file(handle), offset, length)

    def stat(self, handle: Handle) -> FileInfo:
        with self._sure_of_absence(handle):
            return self._file(handle).examine()

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        if file_type is FileType.CONFIG:
            with suppress(FileMissingError):
                yield self.stat(Handle(file_type))
            return
        doing = f"list {file_type.value} at {self.location}"
        request = Request("GET", f"{self._url}{file_type.value}/", doing)
        answer = self._send(request, {"Accept": _WITH_SIZES})
        if answer.status == 404:
            _check_absent(answer, doing)
            return
        check(answer, doing)
        if answer.headers.get("Content-Type", "").partition(";")[0].strip() == _WITH_SIZES:
            yield from _infos(file_type, answer.body, doing)
        else:
            yield from self._examined(file_type, answer.body, doing)

    def save(self, handle: Handle, data: Data) -> None:
        """Some servers write in place: what they keep of a file they could not finish is removed, if they can still."""
        file = self._file(handle)
        doing = f"save {file.where}"
        answer = self._send(Request("POST", file.url, doing, data), {"Content-Type": "application/octet-stream"})
        if answer.status == 403 and self._holds(handle, data):
            return
        if answer.status >= 500 and handle.name:  # as in RetryBackend: named after its content, so nothing is lost
            with suppress(BackendError):
                self.remove(handle)
        check(answer, doing)

    def remove(self, handle: Handle) -> None:
        file = self._file(handle)
        doing = f"remove {file.where}"
        with suppress(FileMissingError), self._sure_of_absence(handle):
            check(self._send(Request("DELETE", file.url, doing), {}), doing)

    def discard(self) -> bool:
        """The protocol has no way to."""
        return False

    def close(self) -> None:
        self._client.close()

    def _file(self, handle: Handle) -> HttpFile:
        path_of(handle)  # refuses what is no name
        return HttpFile(handle, f"{handle} at {self.location}", f"{self._url}{handle}", self._send)

    def _send(self, request: Request, headers: Mapping[str, str], *, at_most: int = MOST_BYTES) -> Answer:
        answer = self._client.send(request, {**self._headers, **headers}, at_most=at_most)
        self._by_rclone = _is_rclone(answer)
        return answer

    @contextmanager
    def _sure_of_absence(self, handle: Handle) -> Iterator[None]:
        """rclone calls a file missing whenever it cannot find it out: so it must reach its storage, and look again."""
        try:
            yield
        except FileMissingError as error:
            if self._by_rclone:
                list(self.list_files(FileType.KEY))
                found = self._file(handle).examine()
                raise BackendUnavailableError(f"{error}, and then it has {found.size} bytes") from error
            raise

    def _holds(self, handle: Handle, data: Data) -> bool:
        """Whether just this is there already: a server that only adds refuses what an attempt before has saved."""
        with suppress(BackendError):
            content = memoryview(data).cast("B")
            return self.stat(handle).size == len(content) and self.load(handle) == content
        return False

    def _examined(self, file_type: FileType, body: bytes, doing: str) -> Iterator[FileInfo]:
        """A listing of the protocol's first version has names only."""
        for name in _entries(body, doing):
            if isinstance(name, str) and is_id(name):
                with suppress(FileMissingError):
                    yield self.stat(Handle(file_type, name))


def _infos(file_type: FileType, body: bytes, doing: str) -> Iterator[FileInfo]:
    for entry in _entries(body, doing):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise BackendError(f"cannot {doing}: the server's answer is no listing")
        size = entry.get("size")
        if is_id(entry["name"]) and isinstance(size, int) and size >= 0:
            yield FileInfo(Handle(file_type, entry["name"]), size)


def _entries(body: bytes, doing: str) -> list[Any]:
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"cannot {doing}: the server's answer is no listing") from error
    if entries is None:  # Go's empty list
        return []
    if not isinstance(entries, list):
        raise BackendError(f"cannot {doing}: the server's answer is no listing")
    return entries


def _check_absent(answer: Answer, doing: str) -> None:
    """No such directory is an empty one; but rclone gives this status to any failure of a listing."""
    if _is_rclone(answer):
        raise BackendUnavailableError(f"cannot {doing}: rclone failed to list it (HTTP 404)")


def _is_rclone(answer: Answer) -> bool:
    return answer.headers.get("Server", "").startswith("rclone/")
