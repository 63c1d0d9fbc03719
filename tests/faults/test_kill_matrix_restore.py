"""As `test_kill_matrix.py`: restores are killed. A half-restored volume goes, the original is as it was."""

from __future__ import annotations

import pytest
from tests.faults.scene import Scene
from tests.faults.verdict import Expected, assert_recovered_from_everywhere

pytestmark = pytest.mark.slow

TO_A_COPY = Expected(
    "restore to a copy",
    operations={"create_snapshot", "create_volume_from_snapshot", "initialize_connection"}
    | {"terminate_connection", "delete_snapshot"},
    every=12,
)
ANEW = Expected(
    "restore anew",
    operations={"create_volume", "initialize_connection", "terminate_connection"},
    every=12,
)


@pytest.mark.parametrize("expected", [TO_A_COPY, ANEW], ids=lambda expected: expected.flow)
def test_after_a_killed_restore_only_a_complete_volume_stays(scene: Scene, expected: Expected) -> None:
    assert_recovered_from_everywhere(scene, expected)
