"""A place of the kill matrix over real iSCSI; `python -m tests.faults.kill_matrix --lvm` has all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from tests.faults.kill_matrix import run_cell
from tests.faults.kills import FLOWS, AtStep
from tests.faults.scene import Scene, open_scene

from icebrick.devcloud.devcloud import Devcloud


@pytest.fixture(scope="module")
def scene(session_devcloud: Devcloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with (
        warnings.catch_warnings(action="ignore"),
        open_scene(session_devcloud, tmp_path_factory.mktemp("kills")) as made,
    ):
        yield made


def test_after_a_kill_while_reading_nothing_of_the_connection_stays(scene: Scene) -> None:
    cell = run_cell(scene, FLOWS["backup"](scene), AtStep("before the end of connector.open_device"))
    assert cell.problems == ()
    # A target and its store; and a session, its node record, the disk and the link to it.
    assert cell.left.connections >= 6
    assert cell.after.connections == 0
