"""Waiting: on fresh copies, no longer than allowed, and with what was seen in the error."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.unit.cloud.fakesession import FakeClock, in_turn

from icebrick.cloud.translate import RateLimitedError
from icebrick.cloud.wait import Pace, Resource
from icebrick.errors import CloudUnavailableError, ResourceMissingError, UnexpectedStateError

READY = frozenset({"available"})
FLIGHT = frozenset({"creating", "deleting"})
IT = Resource("volume", "1f2e")


@dataclass(frozen=True)
class Thing:
    status: str
    id: str = "1f2e"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def states(*names: str | None) -> list[Thing | None]:
    return [Thing(name) if name else None for name in names]


def test_the_copy_that_is_ready_is_returned(clock: FakeClock) -> None:
    ready = Thing("available")
    look = in_turn([Thing("creating"), ready])
    assert clock.waiter().until(look, READY, what=IT, seconds=60) is ready


def test_the_intervals_grow_to_the_longest(clock: FakeClock) -> None:
    look = in_turn(states(*["creating"] * 20, "available"))
    clock.waiter(Pace(first=0.05, growth=2, longest=0.4)).until(look, READY, what=IT, seconds=60)
    assert clock.naps[:5] == [0.05, 0.1, 0.2, 0.4, 0.4]


@pytest.mark.parametrize("state", ["error", "error_extending", "error_deleting"])
def test_a_failed_state_is_an_error_at_once(clock: FakeClock, state: str) -> None:
    with pytest.raises(UnexpectedStateError, match=f"volume 1f2e went to state {state}"):
        clock.waiter().until(in_turn(states(state)), READY, what=IT, seconds=60)
    assert clock.naps == []


def test_what_never_gets_ready_is_an_error_with_what_was_seen(clock: FakeClock) -> None:
    with pytest.raises(UnexpectedStateError, match="volume 1f2e is still creating after 60 s"):
        clock.waiter().until(in_turn(states("creating")), READY, what=IT, seconds=60)
    assert 60 <= clock.now < 62.5


def test_a_resource_that_vanishes_while_waited_for_is_missing(clock: FakeClock) -> None:
    def look() -> Thing:
        raise ResourceMissingError("volume 1f2e")

    with pytest.raises(ResourceMissingError):
        clock.waiter().until(look, READY, what=IT, seconds=60)


def test_gone_means_not_found(clock: FakeClock) -> None:
    clock.waiter().until_gone(in_turn(states("deleting", "deleting", None)), what=IT, seconds=60)
    assert len(clock.naps) == 2


def test_a_failed_deletion_needs_an_administrator(clock: FakeClock) -> None:
    with pytest.raises(UnexpectedStateError, match="is error_deleting") as caught:
        clock.waiter().until_gone(in_turn(states("deleting", "error_deleting")), what=IT, seconds=60)
    assert "'openstack volume set --state error 1f2e'" in str(caught.value.hint)


def test_a_resource_that_the_back_end_found_busy_does_not_go(clock: FakeClock) -> None:
    with pytest.raises(UnexpectedStateError, match="could not be deleted and is available"):
        clock.waiter().until_gone(in_turn(states("deleting", "available")), what=IT, seconds=60)


def test_what_is_busy_for_a_moment_is_deleted_once_more(clock: FakeClock) -> None:
    look, asked = in_turn(states("available", "deleting", "available", "deleting", None)), []
    clock.waiter().until_gone(look, what=IT, seconds=60, again=lambda: asked.append(clock.now))
    assert (len(asked), asked[0]) == (2, 1)
    assert asked[1] >= 3


def test_what_stays_busy_does_not_go(clock: FakeClock) -> None:
    asked: list[float] = []
    with pytest.raises(UnexpectedStateError, match="could not be deleted and is available"):
        clock.waiter().until_gone(
            in_turn(states("available")), what=IT, seconds=60, again=lambda: asked.append(clock.now)
        )
    assert asked == pytest.approx([1, 3, 7, 15], abs=0.5)


def test_what_goes_while_it_is_called_available_is_not_missed(clock: FakeClock) -> None:
    """A dead run's detachment ended while the volume was being deleted, and made it available."""

    def refuse() -> None:
        raise UnexpectedStateError("cannot delete volume 1f2e: Invalid volume")

    clock.waiter().until_gone(in_turn(states("available", None)), what=IT, seconds=60, again=refuse)
    assert clock.now >= 1


def test_a_deletion_that_never_ends_is_an_error(clock: FakeClock) -> None:
    with pytest.raises(UnexpectedStateError, match="volume 1f2e is still deleting after 60 s"):
        clock.waiter().until_gone(in_turn(states("deleting")), what=IT, seconds=60)


def test_a_change_under_way_is_waited_out(clock: FakeClock) -> None:
    settled = clock.waiter().while_in(in_turn(states("creating", "error")), FLIGHT, what=IT, seconds=60)
    assert settled == Thing("error")


def test_a_change_may_end_in_nothing(clock: FakeClock) -> None:
    assert clock.waiter().while_in(in_turn(states("deleting", None)), FLIGHT, what=IT, seconds=60) is None


def test_a_change_that_never_ends_is_told_with_its_state(clock: FakeClock) -> None:
    with pytest.raises(UnexpectedStateError, match="volume 1f2e is still creating after 60 s"):
        clock.waiter().while_in(in_turn(states("creating")), FLIGHT, what=IT, seconds=60)


def test_a_cloud_that_does_not_answer_is_asked_again_later_and_later(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    answers = in_turn([CloudUnavailableError("no answer")] * 3 + ["yes"])
    assert clock.waiter(Pace(attempts=5)).retry(lambda: raised(answers())) == "yes"
    assert clock.naps == [1, 2, 4]
    assert caplog.text.count("no answer") == 3


def test_a_cloud_that_never_answers_is_given_up(clock: FakeClock) -> None:
    tried: list[int] = []

    def request() -> None:
        tried.append(1)
        raise CloudUnavailableError("no answer")

    with pytest.raises(CloudUnavailableError):
        clock.waiter(Pace(attempts=4)).retry(request)
    assert len(tried) == 4


def test_only_what_is_asked_for_is_retried(clock: FakeClock) -> None:
    with pytest.raises(CloudUnavailableError):
        clock.waiter().retry(lambda: raised(CloudUnavailableError("lost")), only=RateLimitedError)
    assert clock.naps == []


def raised(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value
