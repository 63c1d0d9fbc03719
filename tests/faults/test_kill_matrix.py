"""kill -9 at every step and inside every driver operation, on a real Cinder: the next command leaves nothing of it.

The table of the same cells: python -m tests.faults.kill_matrix
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pytest
from tests.faults.kill_matrix import Cell, forget_notes, row, run_cell
from tests.faults.kills import AtStep, Flow, Inside, boundaries, flows_of, survey
from tests.faults.scene import Desk, Left, Scene

pytestmark = pytest.mark.slow


def flow_of(scene: Scene, name: str) -> Flow:
    return next(flow for flow in flows_of(scene) if flow.name == name)


def left_somewhere(cells: list[Cell]) -> set[str]:
    """The kinds of things that kills left before recovery."""
    return {kind for cell in cells for kind, count in asdict(cell.left).items() if count}


@pytest.mark.parametrize(
    ("name", "operations", "kinds"),
    [
        (
            "backup",
            {"create_snapshot", "create_volume_from_snapshot", "initialize_connection"}
            | {"terminate_connection", "delete_volume", "delete_snapshot"},
            {"volumes", "snapshots", "attachments", "loops", "files", "locks", "notes"},
        ),
        (
            "cleanup",
            {"terminate_connection", "delete_volume", "delete_snapshot"},
            {"volumes", "snapshots", "attachments", "loops", "files", "locks", "notes"},
        ),
        (
            "restore to a copy",
            {"create_snapshot", "create_volume_from_snapshot", "initialize_connection"}
            | {"terminate_connection", "delete_snapshot"},
            {"volumes", "snapshots", "attachments", "loops", "files", "locks", "notes"},
        ),
        (
            "restore anew",
            {"create_volume", "initialize_connection", "terminate_connection"},
            {"volumes", "attachments", "loops", "files", "locks", "notes"},
        ),
    ],
)
def test_after_a_kill_anywhere_the_next_command_leaves_nothing(
    scene: Scene, name: str, operations: set[str], kinds: set[str]
) -> None:
    flow = flow_of(scene, name)
    kills = survey(scene, flow)
    assert len([kill for kill in kills if isinstance(kill, AtStep)]) > 9
    assert {kill.operation for kill in kills if isinstance(kill, Inside)} == operations
    cells = [run_cell(scene, flow, kill) for kill in kills]
    assert [row(cell) for cell in cells if cell.problems] == []
    assert left_somewhere(cells) == kinds
    assert forget_notes(scene, flow).problems == ()


@dataclass(frozen=True, slots=True)
class NeverRecovered(AtStep):
    """The mistake that the matrix is there to find."""

    def recover(self, scene: Scene, desk: Desk) -> None:
        """Do nothing."""


def test_a_kill_that_nobody_recovers_from_is_a_problem(scene: Scene) -> None:
    cell = run_cell(scene, flow_of(scene, "backup"), NeverRecovered("before cloud.create_attachment"))
    assert cell.after == cell.left == Left(volumes=1, snapshots=1, files=2, locks=1, notes=1)
    assert any(problem.startswith("left after recovery") for problem in cell.problems)


def test_a_step_that_is_never_reached_is_a_problem(scene: Scene) -> None:
    cell = run_cell(scene, flow_of(scene, "backup"), AtStep("before cloud.nothing"))
    assert any("ended without reaching step" in problem for problem in cell.problems)


def test_of_two_steps_without_a_call_between_them_one_is_a_boundary() -> None:
    steps = ["before a", "after a", "before b", "before c", "after b", "after c"]
    assert boundaries(steps) == ["before a", "before b", "before c", "after b", "after c"]
