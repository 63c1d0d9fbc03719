"""What came of one storm."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.storm.world import Ran, World

from icebrick.testing.turns import Deadlock


@dataclass(frozen=True, slots=True)
class Outcome:
    """`complete` and `failed` count volumes, `faults` what went wrong on purpose in the cloud and on the host."""

    seed: int
    flow: str
    weather: str
    complete: int = 0
    failed: int = 0
    faults: int = 0
    turns: int = 0
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = f"{self.complete:3} complete {self.failed:3} failed {self.faults:4} faults {self.turns:5} turns"
        problems = "".join(f"\n    PROBLEM {problem}" for problem in self.problems)
        return f"{self.flow} {self.seed:6}: {counts}  {self.weather}{problems}"


Storm = Callable[[Random, int, Path], Outcome]
"""A seed's, with all randomness from it, and a directory that is empty."""


def weather_seed(storm: Storm, seed: int) -> Outcome:
    """The outcome; a bug, or threads that wait for each other, is a problem of it."""
    with tempfile.TemporaryDirectory(prefix="icebrick-storm-") as folder:
        try:
            return storm(Random(seed), seed, Path(folder))
        except (Exception, Deadlock):  # noqa: BLE001 - whatever it is, it belongs to this seed
            return Outcome(seed, "?", "?", problems=(traceback.format_exc(),))


def problems_of_failures(ran: Ran) -> list[str]:
    """A run that did not do all says so, and why."""
    summary = ran.summary
    if summary is None:
        told = ran.code != 0 and '"exit_error"' in ran.errors
        return [] if told else [f"ended with {ran.code} and told nothing: {ran.errors}"]
    problems = []
    if not all(failure["message"] for failure in summary["failures"]):
        problems.append("a failure has no reason")
    if summary["not_begun"] and not summary["interrupted"]:
        problems.append("volumes were not begun although nobody interrupted")
    if (ran.code == 0) != (not summary["failures"] and not summary["interrupted"]):
        problems.append(f"exit code {ran.code} with {len(summary['failures'])} failures: {ran.errors}")
    return problems


def differences(before: dict[str, Any], now: dict[str, Any], when: str) -> list[str]:
    """What is in the cloud now and was not before, or is not any more, or has changed."""
    found = []
    for resource_id in sorted(before.keys() | now.keys()):
        was, is_now = before.get(resource_id), now.get(resource_id)
        if was != is_now:
            found.append(f"{when}, instead of {was} there is {is_now}")
    return found


def clean_up(world: World) -> list[str]:
    """The next command of the same host, in good weather; what is wrong with it, and with the host afterwards."""
    world.calm()
    cleaned = world.command("cleanup")
    problems = [] if cleaned.code == 0 else [f"cleanup ended with {cleaned.code}: {cleaned.errors}"]
    if world.connector.connected:
        problems.append(f"devices are left on the host: {sorted(world.connector.connected)}")
    return problems
