"""Storms: everything fails by chance, threads take turns in any order; and each volume is complete or a named failure.

`ICEBRICK_STORM_SEED=17` lets the tests meet this seed alone; `make storm` lets as many storms break out as wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest
from tests.faults.storm.backups import storm_backup
from tests.faults.storm.outcome import Outcome, Storm, weather_seed
from tests.faults.storm.restores import storm_restore

pytestmark = pytest.mark.slow

BATCH = 25
"""Seeds of one test."""


def seeds_of(batch: int) -> Sequence[int]:
    alone = os.environ.get("ICEBRICK_STORM_SEED")
    return range(batch * BATCH, (batch + 1) * BATCH) if alone is None else [int(alone)]


def weathered(storm: Storm, batch: int) -> list[Outcome]:
    """All without problems; what failed is told with its seed."""
    outcomes = [weather_seed(storm, seed) for seed in seeds_of(batch)]
    assert [str(outcome) for outcome in outcomes if outcome.problems] == []
    return outcomes


def total(outcomes: Sequence[Outcome], count: Callable[[Outcome], int]) -> int:
    return sum(map(count, outcomes))


# The last repositories of each test are also read by stock restic.
@pytest.mark.parametrize("batch", range(6))
def test_every_volume_of_a_backup_is_complete_or_a_named_failure_and_nothing_stays(batch: int) -> None:
    outcomes = weathered(storm_backup, batch)
    if len(outcomes) == BATCH:  # it did storm, and not so that nothing is left to lose
        assert total(outcomes, lambda outcome: outcome.faults) > BATCH
        assert total(outcomes, lambda outcome: outcome.complete) > 5 * BATCH
        assert total(outcomes, lambda outcome: outcome.failed) > 2 * BATCH


def test_a_seed_repeats_its_storm() -> None:
    assert weather_seed(storm_backup, 7) == weather_seed(storm_backup, 7)


@pytest.mark.parametrize("batch", range(2))
def test_every_volume_of_a_restore_is_complete_or_a_named_failure_and_nothing_is_touched(batch: int) -> None:
    outcomes = weathered(storm_restore, batch)
    if len(outcomes) == BATCH:
        assert total(outcomes, lambda outcome: outcome.faults) > BATCH
        assert total(outcomes, lambda outcome: outcome.complete) > 2 * BATCH
        assert total(outcomes, lambda outcome: outcome.failed) > 2 * BATCH
