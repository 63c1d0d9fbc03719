"""What a run that is asked to end still waits for: all that it changes and clears up, nothing that it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.unit.cloud.fakesession import FakeClock, FakeSession, in_turn

from icebrick.cloud.api import RestApi
from icebrick.cloud.lifecycle import Lifecycle
from icebrick.cloud.wait import Resource
from icebrick.errors import Interrupted
from icebrick.parallel import Stop

CHANGING = frozenset({"creating"})
IT = Resource("volume", "1f2e")


@dataclass(frozen=True)
class Thing:
    status: str
    id: str = "1f2e"


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def lifecycle(stop: Stop) -> Lifecycle:
    waiter = FakeClock().waiter(stop=stop)
    return Lifecycle(RestApi(FakeSession(), "3.60", waiter), waiter)


def asking(stop: Stop, *states: str) -> Callable[[], Thing]:
    """These states in turn; when the first has been looked up, the run is asked to end."""
    look = in_turn(map(Thing, states))

    def look_and_ask() -> Thing:
        found = look()
        stop.ask()
        return found  # type: ignore[no-any-return]

    return look_and_ask


def test_what_is_made_is_not_waited_for(lifecycle: Lifecycle, stop: Stop) -> None:
    with pytest.raises(Interrupted):
        lifecycle.until_made(asking(stop, "creating", "available"), IT)


def test_what_must_be_at_rest_before_something_begins_is_not_waited_for(lifecycle: Lifecycle, stop: Stop) -> None:
    with pytest.raises(Interrupted):
        lifecycle.at_rest(asking(stop, "creating", "available"), CHANGING, IT)


def test_all_else_is_waited_for(lifecycle: Lifecycle, stop: Stop) -> None:
    assert lifecycle.until_available(asking(stop, "creating", "available"), IT).status == "available"
    assert lifecycle.settled(asking(stop, "creating", "available"), CHANGING, IT) == Thing("available")
    goes = in_turn([Thing("deleting"), Thing("deleting"), None])
    lifecycle.until_gone(goes, IT)
    assert goes() is None
