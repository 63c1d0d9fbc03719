"""Death at every step of each backup and each way to restore, in memory: a cleanup leaves all as it was, or done.

On a real Cinder, and with real processes: `test_kill_matrix.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from tests.faults.storm.deaths import die
from tests.faults.storm.flows import FLOWS, Flow, kill_everywhere, problems_of_cloud, template
from tests.faults.storm.world import World

from icebrick.testing.turns import Turns

pytestmark = pytest.mark.slow

_LEAST_STEPS = 15
_EVERY_MOUNTED = 3
"""Mounting takes its time: so the tests take every so many steps of flows that do, the command takes them all."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    return template(tmp_path_factory.mktemp("deaths"))


@pytest.fixture(params=FLOWS, ids=lambda flow: flow.name)
def flow(request: pytest.FixtureRequest) -> Flow:
    found: Flow = request.param
    if found.mounts:
        request.getfixturevalue("root")
    return found


def test_wherever_it_dies_a_cleanup_leaves_all_as_it_was_or_done(before: World, flow: Flow) -> None:
    every = _EVERY_MOUNTED if flow.mounts else 1
    cells = list(kill_everywhere(before, flow, every=every))
    assert len(cells) >= _LEAST_STEPS // every
    assert [str(cell) for cell in cells if cell.problems] == []


def test_what_is_left_without_a_cleanup_is_a_problem(before: World, flow: Flow) -> None:
    scene = before.copied()
    flow.changed(scene)
    world = scene.copied()
    doom, _ = die(scene.copied(), None, Turns(Random(1)), *flow.arguments(world))
    opened = next(number for number, step in enumerate(doom.steps, 1) if step.startswith("complete_attachment"))
    die(world, opened, Turns(Random(1)), *flow.arguments(world))
    assert list(problems_of_cloud(scene, world, []))
