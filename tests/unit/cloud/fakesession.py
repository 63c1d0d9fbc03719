"""A session that answers from a script, or from a function, and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from icebrick.cloud.wait import Pace, Waiter
from icebrick.parallel import Stop


@dataclass
class FakeResponse:
    status_code: int = 200
    content: bytes = b""

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: Any
    params: Mapping[str, str]
    microversion: str


def answer(status: int = 200, body: Any = None) -> FakeResponse:
    return FakeResponse(status, b"" if body is None else json.dumps(body).encode())


def refusal(status: int, message: str) -> FakeResponse:
    return answer(status, {"badRequest": {"code": status, "message": message}})


@dataclass
class FakeSession:
    """Answers are given in order; an exception among them is raised. Or `handle` makes them."""

    answers: list[FakeResponse | Exception] = field(default_factory=list)
    handle: Callable[[Asked], FakeResponse] | None = None
    asked: list[Asked] = field(default_factory=list)

    def request(
        self, url: str, method: str, *, microversion: str, json: Any, params: Mapping[str, str]
    ) -> FakeResponse:
        asked = Asked(method, url, json, dict(params), microversion)
        self.asked.append(asked)
        if self.handle is not None:
            return self.handle(asked)
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given


class FakeClock:
    """Time that only sleeping moves; `naps` tells how long each was."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def waiter(self, pace: Pace | None = None, stop: Stop | None = None) -> Waiter:
        return Waiter(pace, stop=stop, clock=lambda: self.now, sleep=self.sleep, jitter=lambda: 0.5)


def in_turn(values: Iterable[Any]) -> Callable[[], Any]:
    """A function that returns the values one after the other, and the last for ever."""
    left = list(values)

    def look() -> Any:
        return left.pop(0) if len(left) > 1 else left[0]

    return look


class Script:
    """Answers by method and path; a list is answered in turn, its last entry for ever."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers: dict[str, Callable[[], Any]] = {
            request: in_turn(given if isinstance(given, list) else [given]) for request, given in answers.items()
        }

    def __call__(self, asked: Asked) -> FakeResponse:
        given = self._answers[f"{asked.method} {asked.path}"]()
        if isinstance(given, BaseException):
            raise given
        if isinstance(given, FakeResponse):
            return given
        return answer(202, given)


def sent(session: FakeSession) -> list[str]:
    """All requests but those that only look."""
    return [f"{asked.method} {asked.path}" for asked in session.asked if asked.method != "GET"]
