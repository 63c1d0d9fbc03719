"""Real storage servers behind proxies that spoil what passes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import pytest

from icebrick.backend.base import Backend
from icebrick.backend.location import Location
from icebrick.backend.media import open_backend
from icebrick.backend.wrap.retry import RetryBackend, RetryPolicy, RetryTime
from icebrick.testing.httpfaults import HttpProxy
from icebrick.testing.servers.server import Place, StorageServer

ATTEMPTS = 3
ALWAYS = 1 << 30

HTTP = {"rest": "plain_rest_server", "s3": "swift_s3_server", "swift": "swift_server"}
"""By medium, the server's fixture."""

_PORT = re.compile(r"127\.0\.0\.1:(\d+)")
_numbers = itertools.count()


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


@pytest.fixture
def medium(request: pytest.FixtureRequest) -> Iterator[HttpMedium]:
    """A created, empty place; the parameter is a name of `HTTP`."""
    server: StorageServer = request.getfixturevalue(HTTP[request.param])
    place = server.place(f"fault-{next(_numbers)}")
    texts = [place.location.address, *place.options.environment.values()]
    (port,) = {match[1] for text in texts for match in _PORT.finditer(text)}
    with HttpProxy(int(port)) as proxy:
        found = HttpMedium(request.param, proxy, redirected(place, int(port), proxy.port))
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
