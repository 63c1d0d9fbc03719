"""What several jobs use together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from icebrick.errors import CloudError, IcebrickError, QuotaError
from icebrick.workflow.shared import Shared

PATIENCE = 20.0


class Thing:
    """Notes when it is made and undone."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.failures: list[IcebrickError] = []

    @contextmanager
    def made(self) -> Iterator[int]:
        self.notes.append("making")
        if self.failures:
            raise self.failures.pop()
        self.notes.append("made")
        yield self.notes.count("made")
        self.notes.append("undone")


@pytest.fixture
def thing() -> Thing:
    return Thing()


def test_it_is_made_by_the_first_and_undone_when_the_last_has_ended_however_they_end(thing: Thing) -> None:
    shared = Shared(thing.made, 3)
    assert thing.notes == []
    with shared.used() as first:
        pass
    with suppress(CloudError), shared.used():
        raise CloudError("this one's")
    assert thing.notes == ["making", "made"]
    with shared.used() as last:
        assert (first, last) == (1, 1)
    assert thing.notes[2:] == ["undone"]


def test_jobs_at_work_at_once_use_the_same(thing: Thing) -> None:
    shared = Shared(thing.made, 4)
    together = threading.Barrier(4)

    def work() -> None:
        with shared.used():
            together.wait(PATIENCE)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert thing.notes == ["making", "made", "undone"]


def test_what_cannot_be_made_is_not_tried_for_each_and_fails_all_alike(thing: Thing) -> None:
    shared = Shared(thing.made, 2)
    thing.failures = [CloudError("wrong state")]
    for _ in range(2):
        with pytest.raises(CloudError, match="wrong state"), shared.used():
            pass
    assert thing.notes == ["making"]


def test_for_the_quota_it_is_tried_again(thing: Thing) -> None:
    shared = Shared(thing.made, 1)
    thing.failures = [QuotaError("no room")]
    with pytest.raises(QuotaError), shared.used():
        pass
    with shared.used():
        pass
    assert thing.notes == ["making", "making", "made", "undone"]


def test_it_gives_way_while_its_users_wait_for_the_quota(thing: Thing) -> None:
    shared = Shared(thing.made, 2)
    with shared.used():
        with pytest.raises(QuotaError), shared.used():
            raise QuotaError("no room for the clone")
        assert "undone" not in thing.notes  # another is at work with it
    with pytest.raises(QuotaError), shared.used():
        raise QuotaError("no room for the clone")
    assert "undone" not in thing.notes  # one has ended with it: the others shall have the same
    with shared.used() as same:
        assert same == 1
    assert thing.notes[-1] == "undone"

    waiting = Shared(thing.made, 2)
    with pytest.raises(QuotaError), waiting.used():
        raise QuotaError("no room for the clone")
    assert thing.notes[-1] == "undone"
    with waiting.used() as anew:
        assert anew == 3


def test_what_jobs_that_never_began_would_have_ended_is_undone_by_closing(thing: Thing) -> None:
    shared = Shared(thing.made, 2)
    with shared.used():
        pass
    shared.close()
    shared.close()
    assert thing.notes == ["making", "made", "undone"]
