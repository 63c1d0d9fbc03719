"""As `test_kill_matrix.py`: what needs volumes of its own is killed. In place, with files, and away from its server."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from tests.faults.kill_matrix import own_scene, run_cell
from tests.faults.kills import FLOWS, AtStep, Inside
from tests.faults.scene import Scene
from tests.faults.verdict import Expected, assert_recovered_from_everywhere

from icebrick.devcloud.faults import Fault
from icebrick.devcloud.host import needed_tools
from icebrick.devcloud.record import Settings

pytestmark = pytest.mark.slow

IN_PLACE = Expected(
    "restore in place",
    operations={"create_snapshot", "initialize_connection", "terminate_connection"},
    every=16,
)
BACKUP_OF_FILES = Expected(
    "backup of files",
    operations={"create_snapshot", "create_volume_from_snapshot", "initialize_connection"}
    | {"terminate_connection", "delete_volume", "delete_snapshot"},
    every=16,
)
FILES_TO_A_COPY = Expected(
    "restore of files to a copy",
    operations={"create_snapshot", "create_volume_from_snapshot", "initialize_connection"}
    | {"terminate_connection", "delete_snapshot"},
    every=16,
)
FILES_ANEW = Expected(
    "restore of files anew",
    operations={"create_volume", "initialize_connection", "terminate_connection"},
    every=16,
)
COLD = Expected(
    "cold backup",
    operations={"create_snapshot", "create_volume_from_snapshot", "initialize_connection"}
    | {"terminate_connection", "delete_volume", "delete_snapshot"},
    every=24,
)


@pytest.mark.parametrize(
    "expected", [IN_PLACE, BACKUP_OF_FILES, FILES_TO_A_COPY, FILES_ANEW], ids=lambda expected: expected.flow
)
def test_after_a_kill_anywhere_nothing_stays_and_nothing_is_lost(scene: Scene, expected: Expected) -> None:
    assert_recovered_from_everywhere(scene, expected)


@pytest.mark.parametrize("step", ["before device.write", "before the end of connector.open_target"])
def test_what_a_volume_was_is_kept_before_it_is_written(scene: Scene, step: str) -> None:
    cell = run_cell(scene, FLOWS["restore in place"](scene), AtStep(step))
    assert cell.problems == ()
    assert cell.left.snapshots == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_in_the_making_goes_with_the_run_that_asked_for_it(
    scene: Scene, when: Literal["before", "after"]
) -> None:
    connecting = Fault("initialize_connection", "wait", when=when, times=1)
    cell = run_cell(scene, FLOWS["restore in place"](scene), Inside("initialize_connection", when, 1, connecting))
    assert cell.problems == ()
    assert (cell.left.attachments, cell.after.loops) == (1, 0)


@pytest.mark.parametrize("step", ["after mounted_for_writing", "before the end of mounted_for_writing"])
def test_a_mount_goes_with_its_process(scene: Scene, step: str) -> None:
    cell = run_cell(scene, FLOWS["restore of files to a copy"](scene), AtStep(step))
    assert cell.problems == ()
    assert cell.left.loops == cell.left.attachments == 1


@pytest.fixture
def scene_with_servers(root: None, require: Callable[[str, Any, str], None]) -> Iterator[Scene]:
    """One of its own: Nova takes time to start, and only this needs it."""
    for tool in needed_tools(Settings()):
        require("cinder", shutil.which(tool), f"a devcloud needs {tool}")
    with (
        warnings.catch_warnings(action="ignore"),
        own_scene(Settings(compute=True)) as scene,
    ):  # libraries' own, at their import
        yield scene


def test_after_a_kill_anywhere_a_server_has_its_volume_again(scene_with_servers: Scene) -> None:
    assert_recovered_from_everywhere(scene_with_servers, COLD)
