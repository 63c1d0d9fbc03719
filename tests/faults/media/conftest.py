"""Real storage servers behind proxies that spoil what passes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from icebrick.backend.base import Backend
from icebrick.backend.location import Location
from icebrick.backend.media import open_backend
from icebrick.backend.wrap.retry import RetryBackend, RetryPolicy, RetryTime
from icebrick.testing.httpfaults import HttpProxy
from icebrick.testing.servers import rclone
from icebrick.testing.servers.processes import find_program
from icebrick.testing.servers.server import Place, StorageServer

ATTEMPTS = 3

Serving = Callable[[Path], AbstractContextManager[StorageServer]]

HTTP: dict[str, tuple[Serving, Callable[[], object]]] = {
    "rest": (rclone.serving_rest, lambda: find_program("rclone")),
}
"""Servers of each protocol, and whether they can be started here."""

_PORT = re.compile(r"127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class HttpMedium:
    """A place on a server behind a proxy."""

    name: str
    proxy: HttpProxy
    place: Place

    @contextmanager
    def opened(self) -> Iterator[Backend]:
        """One attempt a call."""
        with closing(open_backend(self.place.location, self.place.options)) as backend:
            yield backend


@dataclass
class Pauses:
    """How long was waited: no time at all."""

    made: list[float] = field(default_factory=list)

    def patient(self, backend: Backend, attempts: int = ATTEMPTS) -> RetryBackend:
        time_source = RetryTime(sleep=self.made.append, uniform=lambda _low, high: high)
        return RetryBackend(backend, RetryPolicy(attempts=attempts, base=0.5), time_source)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture(scope="session")
def http_server(
    request: pytest.FixtureRequest,
    require: Callable[[str, object, str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, StorageServer]]:
    """One of HTTP; its name is the parameter."""
    serving, available = HTTP[request.param]
    require({"rest": "rclone", "s3": "seaweedfs", "swift": "swift"}[request.param], available(), "not installed")
    with serving(tmp_path_factory.mktemp(request.param) / "server") as server:
        yield request.param, server


_numbers = itertools.count()


@pytest.fixture
def medium(http_server: tuple[str, StorageServer], monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpMedium]:
    """A created, empty place, on each server in turn."""
    name, server = http_server
    place = server.place(f"fault-{next(_numbers)}")
    texts = [place.location.address, *place.options.environment.values()]
    (port,) = {match[1] for text in texts for match in _PORT.finditer(text)}
    with HttpProxy(int(port)) as proxy:
        found = HttpMedium(name, proxy, redirected(place, int(port), proxy.port))
        with found.opened() as backend:
            backend.create()
        proxy.requests.clear()
        yield found


def redirected(place: Place, old: int, new: int) -> Place:
    """With another port."""

    def change(text: str) -> str:
        return text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")

    environment = {name: change(value) for name, value in place.options.environment.items()}
    location = Location(place.location.scheme, change(place.location.address))
    return replace(place, location=location, options=replace(place.options, environment=environment))
