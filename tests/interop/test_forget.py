"""Our verdicts and stock restic's, on generated histories of snapshots and generated rules: the same, reasons too."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.parallel import Workers
from icebrick.repository.repository import Repository, init_repository
from icebrick.repository.retention import Period, Policy, Span
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp, now, parse_timestamp
from icebrick.secret import Secret
from icebrick.testing.repositories import CHEAP
from icebrick.testing.restic import Restic
from icebrick.workflow.forget import ForgetPlan, GroupKey, parse_grouping, plan_forget

pytestmark = pytest.mark.slow

PASSWORD = "geheim"
REPOSITORIES, HISTORIES, RULE_SETS = 8, 30, 27
"""Histories of each repository; each is judged by all of its repository's sets of rules."""
HOUR = 3600 * 10**9
STEPS = (HOUR // 7, HOUR // 3, HOUR, 5 * HOUR, 24 * HOUR, 60 * HOUR, 24 * 9 * HOUR, 24 * 40 * HOUR, 24 * 200 * HOUR)
ENDS = ("2023-12-31T23:40:00Z", "2021-01-04T00:10:00Z", "2024-03-01T00:00:00Z", "2022-07-31T12:00:00Z")
"""When histories end, of which some hold: the ends of years, of weeks in them, of February, of a long month."""


def history(rng: random.Random, name: str) -> Iterator[Snapshot]:
    """As of one path; of hosts in several time zones. No two of one time: for those restic has no order."""
    moment = parse_timestamp(rng.choice(ENDS)).ns + rng.randrange(24 * HOUR)
    offsets = rng.choice([(0,), (60,), (0, 60, -300, 330)])
    steps = rng.sample(STEPS, 3)
    for _ in range(rng.randint(1, 24)):
        tags = tuple(rng.sample(["a", "b", "c"], rng.choice([0, 0, 1, 2])))
        yield Snapshot(Timestamp(moment, rng.choice(offsets)), bytes(32), (f"/{name}",), "host", tags=tags)
        moment -= rng.randint(1, rng.choice(steps))


def span(rng: random.Random) -> Span:
    """At least an hour."""
    years, months, days = (rng.choice([0, 0, most]) and rng.randint(0, most) for most in (3, 14, 70))
    return Span(years, months, days, rng.randint(1, 50))


def policy(rng: random.Random, *, oldest: bool) -> Policy:
    """Some rules of every kind, at least one."""
    while True:
        made = Policy(
            {period: rng.randint(1, 9) for period in Period if rng.random() < 0.25},
            span(rng) if rng.random() < 0.2 else None,
            {period: span(rng) for period in Period if period is not Period.LAST and rng.random() < 0.12},
            rng.choice([(), (), (), (("a",),), (("a", "b"), ("c",))]),
            oldest,
        )
        if not made.is_empty:
            return made


def arguments(rules: Policy) -> Iterator[str]:
    for period, count in rules.counts.items():
        yield f"--keep-{period.value}={count}"
    if rules.within is not None:
        yield f"--keep-within={rules.within}"
    for period, length in rules.within_each.items():
        yield f"--keep-within-{period.value}={length}"
    for tags in rules.tags:
        yield f"--keep-tag={','.join(tags)}"


def told_by_restic(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each group, by its path."""
    return {
        group["paths"][0]: {
            "keep": [snapshot["id"] for snapshot in group["keep"] or []],
            "remove": [snapshot["id"] for snapshot in group["remove"] or []],
            "reasons": [(reason["matches"], reason["counters"]) for reason in group["reasons"] or []],
        }
        for group in groups
    }


def told_by_us(plan: ForgetPlan) -> dict[str, Any]:
    return {
        _path(group.key): {
            "keep": [snapshot.id for snapshot in group.kept],
            "remove": [snapshot.id for snapshot in group.removed],
            "reasons": [
                (list(verdict.reasons), {period.value: count for period, count in verdict.counters.items()})
                for verdict in group.verdicts
                if verdict.is_kept
            ],
        }
        for group in plan.groups
    }


def _path(key: GroupKey) -> str:
    assert key.paths is not None
    return key.paths[0]


@pytest.fixture
def keeps_oldest(restic: str) -> bool:
    """As restic does from 0.16 on."""
    found = re.match(r"restic (\d+)\.(\d+)", Restic(restic, Path("/"), PASSWORD).run("version"))
    assert found
    return (int(found[1]), int(found[2])) >= (0, 16)


@pytest.fixture
def fill(tmp_path_factory: pytest.TempPathFactory) -> Callable[[random.Random], tuple[Repository, Path]]:
    """Makes a repository with histories."""

    def make(rng: random.Random) -> tuple[Repository, Path]:
        path = tmp_path_factory.mktemp("histories")
        with closing(LocalBackend(path)) as backend:
            repository = init_repository(backend, Secret(PASSWORD), parameters=CHEAP)
            for number in range(HISTORIES):
                for snapshot in history(rng, f"history {number}"):
                    repository.save_snapshot(snapshot)
        return repository, path

    return make


@pytest.mark.parametrize("seed", range(REPOSITORIES))
def test_whatever_the_history_and_the_rules_the_verdicts_and_reasons_are_those_of_restic(
    restic: str, keeps_oldest: bool, fill: Callable[[random.Random], tuple[Repository, Path]], seed: int
) -> None:
    rng = random.Random(seed)
    repository, path = fill(rng)
    there = list(repository.snapshots())
    stock = Restic(restic, path, PASSWORD)
    compared = 0

    def compare(rules: Policy) -> None:
        nonlocal compared
        theirs = stock.json("--no-lock", "forget", "--dry-run", *arguments(rules))
        grouping = parse_grouping("host,paths")
        ours = plan_forget(there, lambda _: True, rules, grouping=grouping, now=now())
        assert told_by_us(ours) == told_by_restic(theirs), list(arguments(rules))
        compared += len(ours.groups)

    with Workers(compare, threads=2, name="compare") as workers:
        for _ in range(RULE_SETS):
            workers.put(policy(rng, oldest=keeps_oldest))
    assert compared == HISTORIES * RULE_SETS
