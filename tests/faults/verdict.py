"""What a test expects of a whole flow of the matrix."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tests.faults.kill_matrix import Cell, forget_notes, row, run_cell
from tests.faults.kills import FLOWS, AtStep, Inside, survey
from tests.faults.scene import Scene

_LEAST_STEPS = 5


@dataclass(frozen=True, slots=True)
class Expected:
    """`operations` of the driver that the flow has; kinds of things that its kills, together, must have `left`."""

    flow: str
    operations: set[str]
    left: set[str]
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
    left = _left_by(cells)
    assert left >= expected.left
    assert forget_notes(scene, flow).problems == ()


def _left_by(cells: list[Cell]) -> set[str]:
    return {kind for cell in cells for kind, count in asdict(cell.left).items() if count}
