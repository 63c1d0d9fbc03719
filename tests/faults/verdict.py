"""What a test expects of a whole flow of the matrix."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.kill_matrix import forget_notes, row, run_cell
from tests.faults.kills import FLOWS, AtStep, Inside, survey
from tests.faults.scene import Left, Scene

_LEAST_STEPS = 5


@dataclass(frozen=True, slots=True)
class Expected:
    """`operations` of the driver that the flow has."""

    flow: str
    operations: set[str]
    every: int = 1
    """Only every so many places; that it may die at each is tested in memory (`test_deaths.py`)."""


def assert_recovered_from_everywhere(scene: Scene, expected: Expected) -> None:
    """Each place that the living flow has shown is one kill. That they do kill is seen from what they leave."""
    flow = FLOWS[expected.flow](scene)
    kills = survey(scene, flow)
    assert sum(isinstance(kill, AtStep) for kill in kills) >= _LEAST_STEPS
    assert {kill.operation for kill in kills if isinstance(kill, Inside)} == expected.operations
    cells = [run_cell(scene, flow, kill) for kill in kills[:: expected.every]]
    assert [row(cell) for cell in cells if cell.problems] == []
    assert any(cell.left != Left() for cell in cells)
    assert forget_notes(scene, flow).problems == ()
