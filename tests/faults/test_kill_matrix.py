"""kill -9 at every step and inside every driver operation, on a real Cinder: the next command leaves nothing of it.

Here a backup and a cleanup are killed, restores in `test_kill_matrix_restore.py`.
The table of the same cells: python -m tests.faults.kill_matrix
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.faults.kill_matrix import run_cell
from tests.faults.kills import FLOWS, AtStep, boundaries
from tests.faults.scene import Desk, Left, Scene
from tests.faults.verdict import Expected, assert_recovered_from_everywhere

pytestmark = pytest.mark.slow

BACKUP = Expected(
    "backup",
    operations={"create_snapshot", "create_volume_from_snapshot", "initialize_connection"}
    | {"terminate_connection", "delete_volume", "delete_snapshot"},
    every=12,
)
GROUP = Expected(
    "backup of a group",
    operations={"create_group_snapshot", "create_volume_from_snapshot", "initialize_connection"}
    | {"terminate_connection", "delete_volume", "delete_group_snapshot"},
    every=25,
)
CLEANUP = Expected(
    "cleanup",
    operations={"terminate_connection", "delete_volume", "delete_snapshot"},
    every=10,
)


@pytest.mark.parametrize("expected", [BACKUP, GROUP, CLEANUP], ids=lambda expected: expected.flow)
def test_after_a_kill_anywhere_the_next_command_leaves_nothing(scene: Scene, expected: Expected) -> None:
    assert_recovered_from_everywhere(scene, expected)


@dataclass(frozen=True, slots=True)
class NeverRecovered(AtStep):
    """The mistake that the matrix is there to find."""

    def recover(self, scene: Scene, desk: Desk) -> None:
        """Do nothing."""


def test_a_kill_that_nobody_recovers_from_is_a_problem(scene: Scene) -> None:
    cell = run_cell(scene, FLOWS["backup"](scene), NeverRecovered("before cloud.create_attachment"))
    assert cell.after == cell.left == Left(volumes=1, snapshots=1, files=2, locks=1, notes=1)
    assert any(problem.startswith("left after recovery") for problem in cell.problems)


def test_a_step_that_is_never_reached_is_a_problem(scene: Scene) -> None:
    cell = run_cell(scene, FLOWS["backup"](scene), AtStep("before cloud.nothing"))
    assert any("ended without reaching step" in problem for problem in cell.problems)


def test_of_two_steps_without_a_call_between_them_one_is_a_boundary() -> None:
    steps = ["before a", "after a", "before b", "before c", "after b", "after c"]
    assert boundaries(steps) == ["before a", "before b", "before c", "after b", "after c"]


def test_a_call_that_only_looks_is_no_boundary() -> None:
    steps = ["before cloud.volumes", "after cloud.volumes", "before cloud.get_volume (2)", "after cloud.get_volume (2)"]
    assert boundaries(["before a", "after a", *steps, "before b", "after b"]) == ["before a", "before b", "after b"]
